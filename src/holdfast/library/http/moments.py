"""The verbs on snapshots and on buckets as they were, over a server's REST door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from holdfast.core.names import check_bucket, check_key, check_prefix
from holdfast.core.records import Snapshot
from holdfast.core.types import ListPage
from holdfast.engine.moments import Difference, check_name
from holdfast.library.http import wire
from holdfast.library.http.transport import Repeat, Transport
from holdfast.library.moments import MomentVerbs
from holdfast.policy.moments import Change, Changed, text_of, time_of


class HttpMoments(MomentVerbs):
    """Snapshots at a server. What has it sets `_http`."""

    _http: Transport

    async def create_snapshot(
        self, bucket: str, name: str, *, at: int | None = None, note: str = ""
    ) -> Snapshot:
        """See `MomentVerbs`."""
        wish = {"at": None if at is None else text_of(at), "note": note}
        path = _path(bucket, name)
        return _snapshot(await self._http.call("PUT", path, json=wish, repeat=Repeat.REFUSED))

    async def snapshot(self, bucket: str, name: str) -> Snapshot:
        """See `MomentVerbs`."""
        return _snapshot(await self._http.call("GET", _path(bucket, name)))

    async def snapshots(self, bucket: str) -> Sequence[Snapshot]:
        """See `MomentVerbs`."""
        found: list[Snapshot] = []
        marker = ""
        while True:
            page = await self._http.call("GET", _path(bucket), query={"marker": marker})
            found += [_snapshot(one) for one in wire.items(page, "snapshots")]
            if not (marker := page["next_marker"]):
                return found

    async def delete_snapshot(self, bucket: str, name: str) -> None:
        """See `MomentVerbs`."""
        await self._http.call("DELETE", _path(bucket, name))

    async def page_at(
        self,
        bucket: str,
        at: int,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> ListPage:
        """See `MomentVerbs`."""
        query = {
            "prefix": check_prefix(prefix),
            "delimiter": check_prefix(delimiter),
            "marker": check_prefix(marker),
            "limit": limit,
            "at": text_of(at),
        }
        path = f"list/{quote(check_bucket(bucket), safe='')}"
        return wire.list_page(await self._http.call("GET", path, query=query), bucket)

    async def version_at(self, bucket: str, key: str, at: int) -> str:
        """See `MomentVerbs`."""
        path = f"objects/{quote(check_bucket(bucket), safe='')}/{quote(check_key(key), safe='/~')}"
        answer = await self._http.send("HEAD", path, query={"at": text_of(at)})
        answer.release()
        return wire.version_from_headers(bucket, key, answer.headers).id

    async def compare(
        self,
        bucket: str,
        at: int,
        until: int | None = None,
        *,
        prefix: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> Difference:
        """See `MomentVerbs`."""
        query = {
            "at": text_of(at),
            "until": None if until is None else text_of(until),
            "prefix": check_prefix(prefix),
            "marker": check_prefix(marker),
            "limit": limit,
        }
        path = f"differences/{quote(check_bucket(bucket), safe='')}"
        page = await self._http.call("GET", path, query=query)
        found = [_changed(one, bucket) for one in wire.items(page, "changes")]
        return Difference(found, page["next_marker"])


def _path(bucket: str, name: str | None = None) -> str:
    place = f"snapshots/{quote(check_bucket(bucket), safe='')}"
    return place if name is None else f"{place}/{check_name(name)}"


def _snapshot(said: Any) -> Snapshot:
    return Snapshot(
        "",
        said["bucket"],
        said["name"],
        time_of(said["at"]),
        time_of(said["created"]),
        said["principal"],
        said["note"],
    )


def _changed(said: Any, bucket: str) -> Changed:
    then, later = said.get("then"), said.get("later")
    return Changed(
        said["key"],
        Change(said["change"]),
        None if then is None else wire.version(then, bucket),
        None if later is None else wire.version(later, bucket),
        said["gap"],
    )
