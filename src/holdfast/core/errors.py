"""The error tree: one kind per thing that a caller can do about it.

Every error carries a stable `code` (for programs), `retryable` (would the same call, unchanged, perhaps succeed
later?), and where it happened (`operation`, `store`, `name`). The foreign error, if any, is the `__cause__`.
Doors map kinds to their own numbers in one table each; a test asserts that no kind is missing from any table.
"""

from __future__ import annotations

from typing import ClassVar


class HoldfastError(Exception):
    """Base of every error that leaves Holdfast; never raised itself."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        store: str = "",
        name: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.store = store
        self.name = name
        #: Seconds that the other side asked us to wait, when it said so.
        self.retry_after = retry_after

    def __str__(self) -> str:
        where = " ".join(part for part in (self.operation, self.store, self.name) if part)
        return f"{self.message} [{where}]" if where else self.message


class NotFoundError(HoldfastError):
    """The tenant, bucket, object, version, upload or blob does not exist."""

    code = "not_found"


class AlreadyExistsError(HoldfastError):
    """Something with that name is already there and the call asked not to replace it."""

    code = "already_exists"


class PreconditionFailedError(HoldfastError):
    """An If-Match, If-None-Match, If-Modified-Since or If-Unmodified-Since did not hold."""

    code = "precondition_failed"


class ConflictError(HoldfastError):
    """The state of the target forbids the call: a bucket that is not empty, an upload already completed."""

    code = "conflict"


class InvalidRequestError(HoldfastError):
    """The call itself is wrong; repeating it unchanged cannot help."""

    code = "invalid_request"


class InvalidRangeError(HoldfastError):
    """The range starts at or past the end of the object, or is not a range at all."""

    code = "invalid_range"


class TooLargeError(HoldfastError):
    """More bytes than the store, the bucket or the server takes in one object."""

    code = "too_large"


class DigestMismatchError(HoldfastError):
    """The bytes that arrived are not the bytes that were announced (size or checksum)."""

    code = "digest_mismatch"


class UnauthenticatedError(HoldfastError):
    """No credential, or one that does not hold."""

    code = "unauthenticated"


class PermissionDeniedError(HoldfastError):
    """The credential holds but does not allow this."""

    code = "permission_denied"


class QuotaExceededError(HoldfastError):
    """A quota of the tenant, the bucket or the store itself is used up."""

    code = "quota_exceeded"


class RateLimitedError(HoldfastError):
    """Too many calls; wait `retry_after` seconds."""

    code = "rate_limited"
    retryable = True


class UnavailableError(HoldfastError):
    """The store or the catalog cannot be reached or asked us to come back later."""

    code = "unavailable"
    retryable = True


class DeadlineError(HoldfastError):
    """It took longer than it was allowed to."""

    code = "deadline"
    retryable = True


class CorruptedError(HoldfastError):
    """A store returned bytes that are not the ones it was given. Retryable: damage in transit passes."""

    code = "corrupted"
    retryable = True


class UnsupportedError(HoldfastError):
    """The store does not offer this; its capabilities say so beforehand."""

    code = "unsupported"


class ConfigError(HoldfastError):
    """The configuration is wrong; the message names the setting and what to do."""

    code = "config"


class InternalError(HoldfastError):
    """A defect in Holdfast. The request id leads to the log line with the traceback."""

    code = "internal"


#: Every kind, in the order of the table in the reference.
KINDS: tuple[type[HoldfastError], ...] = (
    NotFoundError,
    AlreadyExistsError,
    PreconditionFailedError,
    ConflictError,
    InvalidRequestError,
    InvalidRangeError,
    TooLargeError,
    DigestMismatchError,
    UnauthenticatedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    UnavailableError,
    DeadlineError,
    CorruptedError,
    UnsupportedError,
    ConfigError,
    InternalError,
)

BY_CODE: dict[str, type[HoldfastError]] = {kind.code: kind for kind in KINDS}
