"""Signed links: with the account's key, or with a key that the service gives to an identity for some days."""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast.backends.object_store.azure.address import Address
from holdfast.backends.object_store.azure.client import Client, strange, xml
from holdfast.backends.object_store.azure.credentials import AccountKey
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.azure.signing import DelegationKey, link, stamp
from holdfast.backends.object_store.errors import Where
from holdfast.core.clock import moment
from holdfast.core.errors import InvalidRequestError, UnsupportedError

WEEK: Final = 604_800  #: seconds; neither links of an identity nor its keys last longer
_BEFORE: Final = 900  #: seconds by which the service's clock may be behind ours
_SECOND: Final = 1_000_000


class Links:
    """Signs URLs of blobs."""

    def __init__(self, client: Client, settings: AzureSettings) -> None:
        self._client = client
        self._public = Address.of(settings, public=True)
        self._key: DelegationKey | None = None
        self._asking = asyncio.Lock()

    async def sign(
        self,
        where: Where,
        key: str,
        permissions: str,
        *,
        seconds: int,
        content_type: str = "",
        content_disposition: str = "",
        public: bool = True,
    ) -> tuple[str, int]:
        """Return a URL that allows `permissions` on the blob `key` for `seconds`, and when it ends.

        It is on the public endpoint, or on the one that we ask ourselves.

        Raises:
            PermissionDeniedError: the identity may not ask for a delegation key. UnsupportedError: a link signs nothing.
        """
        # Links end at whole seconds; rounded up, or one for a second might be over before it is used.
        ends = (-(-self._client.environment.clock.now() // _SECOND) + seconds) * _SECOND
        signing, latest = await self._signing(where, ends)
        ends, address = min(ends, latest), self._public if public else self._client.address
        query = link(
            address.resource(key),
            permissions=permissions,
            expires=ends,
            key=signing,
            http=address.service.startswith("http://"),
            content_type=content_type,
            content_disposition=content_disposition,
        )
        return f"{address.origin}{address.path(key)}?{query}", ends

    async def _signing(self, where: Where, ends: int) -> tuple[str | DelegationKey, int]:
        """Return what signs a link until `ends`, and how long its links can last."""
        credential = await self._client.source.current()
        if isinstance(credential, AccountKey):
            return credential.value, ends
        if not self._client.settings.identity:
            raise UnsupportedError(
                "a shared access signature cannot sign links", operation=where.operation, store=where.store
            )
        async with self._asking:
            if self._key is None or moment(self._key.expiry) < ends:
                self._key = await self._delegation(where)
            return self._key, moment(self._key.expiry)

    async def _delegation(self, where: Where) -> DelegationKey:
        now = self._client.environment.clock.now()
        start, end = stamp(now - _BEFORE * _SECOND), stamp(now + WEEK * _SECOND)
        body = f'<?xml version="1.0" encoding="utf-8"?><KeyInfo><Start>{start}</Start><Expiry>{end}</Expiry></KeyInfo>'
        answer = await self._client.call(
            where,
            "POST",
            None,
            query=[("restype", "service"), ("comp", "userdelegationkey")],
            headers={"content-type": "application/xml"},
            body=body.encode(),
        )
        root = xml(answer, where, "UserDelegationKey")
        tags = (
            "SignedOid",
            "SignedTid",
            "SignedStart",
            "SignedExpiry",
            "SignedService",
            "SignedVersion",
            "Value",
        )
        fields = [root.findtext(tag) or "" for tag in tags]
        try:
            moment(fields[3])
        except InvalidRequestError as error:
            raise strange("the delegation key does not say when it ends", where) from error
        return DelegationKey(*fields)
