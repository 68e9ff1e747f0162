"""The one place where a session's permission is asked for, before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.core.errors import (
    HoldfastError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from holdfast.core.types import EMPTY, BucketSettings, Located, ObjectRef, Principal, Visibility
from holdfast.engine.context import Context
from holdfast.engine.following import bring
from holdfast.policy.access import ANONYMOUS, decide, holds
from holdfast.policy.addresses import admits

_DEFAULTS: Final = BucketSettings()
_NEEDED: Final = "a token is needed: Authorization: Bearer TOKEN"


class Permit:
    """What one principal may do, coming from one address.

    An `address` of "" is work inside this process, which the address rules of buckets are not about. `asked` is what
    was asked for last, allowed or not: verb, bucket, key or prefix; `version_id` what was found there; `detail` what
    more is to be told of it. For the audit.
    """

    __slots__ = ("_address", "_context", "_principal", "asked", "detail", "version_id")

    def __init__(self, context: Context, principal: Principal, address: str) -> None:
        self._context = context
        self._principal = principal
        self._address = address
        self.asked = ("", "", "")
        self.version_id = ""
        self.detail: Mapping[str, str] = EMPTY

    def allow(self, verb: str, bucket: str = "", key: str | None = None, prefix: str = "") -> None:
        """Return when the policy allows `verb` there (see `policy.access.decide`).

        Raises:
            PermissionDeniedError: it does not. UnauthenticatedError: nobody asks, and a token might help.
        """
        self.asked = (verb, bucket, prefix if key is None else key)
        decision = decide(self._principal, verb, bucket=bucket, key=key, prefix=prefix)
        if not decision.allowed:
            raise self._refusal(decision.reason, verb)

    def allow_role(self, verb: str) -> None:
        """Return when the role alone does not forbid `verb`: for what is found by an id, and asked about when found."""
        self.asked = (verb, "", "")
        if not holds(self._principal, verb):
            raise self._refusal(f"role {self._principal.role} does not allow {verb}", verb)

    def may(self, verb: str, bucket: str = "", key: str | None = None, prefix: str = "") -> bool:
        """Return whether the policy allows `verb` there."""
        return decide(self._principal, verb, bucket=bucket, key=key, prefix=prefix).allowed

    def admitted(self, settings: BucketSettings) -> bool:
        """Return whether a bucket with `settings` lets the address in."""
        return not self._address or admits(settings.ip, self._address)

    async def enter(self, verb: str, bucket: str, key: str | None = None, prefix: str = "") -> None:
        """As `allow`, and the bucket lets this address in. For all that does not resolve an object first.

        Raises:
            NotFoundError: an address is known, and there is no such bucket.
        """
        self.allow(verb, bucket, key, prefix)
        if self._address:
            self._admit((await self._context.rules.bucket(self._principal.tenant, bucket)).settings)

    async def resolve(self, ref: ObjectRef, version_id: str | None = None, *, whole: bool = False) -> Located:
        """Return the version to be read, its bucket's visibility and address rules checked. `allow` was asked before.

        `whole` brings its bytes along if they live in the catalog.

        Raises:
            NotFoundError: there is none. UnauthenticatedError: nobody asks, and the bucket is not public or not there.
        """
        if version_id is None and await self._context.following.of(ref.tenant, ref.bucket) is not None:
            # asked first: for nobody else is the upstream looked into
            self._admit((await self._context.rules.bucket(ref.tenant, ref.bucket)).settings)
            await bring(self._context, ref)
        try:
            located = await self._context.catalog.resolve(ref, version_id=version_id, whole=whole)
        except NotFoundError:
            await self._check_missing(ref)
            raise
        self.version_id = located.version.id
        self._admit(located.settings or _DEFAULTS)
        return located

    def _admit(self, settings: BucketSettings) -> None:
        if self._principal.role == ANONYMOUS and settings.visibility is not Visibility.PUBLIC:
            raise UnauthenticatedError(_NEEDED)
        if not self.admitted(settings):
            raise PermissionDeniedError("the bucket does not let this address in")

    async def _check_missing(self, ref: ObjectRef) -> None:
        """Return when somebody may learn that something is missing: whoever could have read it."""
        if not self._address and self._principal.role != ANONYMOUS:
            return
        try:
            settings = (await self._context.rules.bucket(ref.tenant, ref.bucket)).settings
        except NotFoundError:
            settings = _DEFAULTS
        self._admit(settings)

    def _refusal(self, reason: str, verb: str) -> HoldfastError:
        if self._principal.role == ANONYMOUS:
            return UnauthenticatedError(_NEEDED)
        return PermissionDeniedError(reason, operation=verb)
