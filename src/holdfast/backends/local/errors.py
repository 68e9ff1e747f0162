"""What an `OSError` of the disk means: the one place where the local backend's foreign errors are translated."""

from __future__ import annotations

import errno
from typing import Final

from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    TooLargeError,
    UnavailableError,
)

_MEANING: Final[dict[int, tuple[type[HoldfastError], str]]] = {
    errno.ENOENT: (NotFoundError, "there is no such blob"),
    errno.EEXIST: (AlreadyExistsError, "a blob with that name is there"),
    errno.ENOSPC: (QuotaExceededError, "the disk is full"),
    errno.EDQUOT: (QuotaExceededError, "the disk quota is used up"),
    errno.EFBIG: (TooLargeError, "the file is larger than the file system or its limit allows"),
    errno.EROFS: (PermissionDeniedError, "the disk is mounted read-only"),
    errno.EACCES: (PermissionDeniedError, "the file system does not permit it"),
    errno.EPERM: (PermissionDeniedError, "the file system does not permit it"),
    errno.ELOOP: (PermissionDeniedError, "a symbolic link stands in the way, and none is followed"),
    errno.EXDEV: (PermissionDeniedError, "the path leads out of the store's folder"),
    errno.ENOTDIR: (ConflictError, "something that is not a folder stands where one should be"),
    errno.EISDIR: (ConflictError, "a folder stands where a blob should be"),
    errno.ENOTEMPTY: (ConflictError, "a folder stands where a blob should be"),
    errno.ENAMETOOLONG: (InvalidRequestError, "the name is longer than the file system takes"),
    errno.EIO: (UnavailableError, "the disk reports an input/output error"),
    errno.EMFILE: (UnavailableError, "too many files are open in this process"),
    errno.ENFILE: (UnavailableError, "too many files are open on this machine"),
    errno.ENODEV: (UnavailableError, "the disk is gone"),
    errno.ESTALE: (UnavailableError, "the store's folder is gone"),
}


def translate(error: OSError, operation: str, store: str, name: str) -> HoldfastError:
    """Return the error kind that `error` means, naming where it happened; the number is kept in the message."""
    number = error.errno or 0
    kind, text = _MEANING.get(number, (UnavailableError, "the disk does not answer as it should"))
    if kind in (NotFoundError, AlreadyExistsError):
        return kind(text, operation=operation, store=store, name=name)
    label = errno.errorcode.get(number, str(number))
    return kind(f"{text} ({label})", operation=operation, store=store, name=name)


class Translated:
    """A `with` block out of which only error kinds of `core.errors` come, saying where they happened."""

    __slots__ = ("_name", "_operation", "_store")

    def __init__(self, operation: str, store: str, name: str) -> None:
        self._operation, self._store, self._name = operation, store, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise self.meaning(error) from error
        if isinstance(error, HoldfastError):
            self.meaning(error)

    def meaning(self, error: BaseException) -> HoldfastError:
        """Return `error` as one of ours, with the place filled in."""
        if isinstance(error, OSError):
            return translate(error, self._operation, self._store, self._name)
        assert isinstance(error, HoldfastError)
        error.operation = error.operation or self._operation
        error.store = error.store or self._store
        error.name = error.name or self._name
        return error
