"""The verbs on moves and upstreams over a server's REST door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from holdfast.core.adopted import Owing, Phase, Upstream
from holdfast.core.clock import moment
from holdfast.core.names import check_bucket
from holdfast.core.records import KeptMove, StoreHolds
from holdfast.library.http import wire
from holdfast.library.http.transport import Repeat, Transport
from holdfast.library.moving import MoveVerbs

if TYPE_CHECKING:
    from holdfast.engine.moves import Difference, MoveStatus
    from holdfast.engine.upstream_desk import UpstreamStatus


class HttpMoves(MoveVerbs):
    """Moves and upstreams of a server. What has it sets `_http`."""

    _http: Transport

    async def moves(self) -> Sequence[MoveStatus]:
        """See `MoveVerbs`."""
        from holdfast.engine.moves import MoveStatus

        found = wire.items(await self._http.call("GET", "moves"), "moves")
        return [
            MoveStatus(_move(said), _holds(said["source_holds"]), _holds(said["target_holds"]))
            for said in found
        ]

    async def begin_move(self, source: str, target: str) -> KeptMove:
        """See `MoveVerbs`."""
        return _move(await self._http.call("POST", "moves", json={"source": source, "target": target}))

    async def verify_move(self, source: str) -> Difference:
        """See `MoveVerbs`."""
        from holdfast.engine.moves import Away, Difference

        said = await self._http.call("GET", f"{_of_store(source)}/difference")
        samples = [
            Away(one["name"], one["version_id"], tuple(one["stores"]), tuple(one["wanted"]))
            for one in wire.items(said, "samples")
        ]
        return Difference(said["concerned"], said["versions"], said["bytes"], said["unreadable"], samples)

    async def cut_over_move(self, source: str, *, keep: float | None = None) -> KeptMove:
        """See `MoveVerbs`."""
        return _move(await self._http.call("POST", f"{_of_store(source)}/cutover", json={"keep": keep}))

    async def take_move_back(self, source: str) -> KeptMove:
        """See `MoveVerbs`."""
        return _move(await self._http.call("POST", f"{_of_store(source)}/back"))

    async def forget_move(self, source: str) -> None:
        """See `MoveVerbs`."""
        await self._http.call("DELETE", _of_store(source), repeat=Repeat.REFUSED)

    async def upstreams(self, *, tenant: str | None = None) -> Sequence[UpstreamStatus]:
        """See `MoveVerbs`."""
        found = await self._http.call("GET", "upstreams", query={"tenant": tenant})
        return [_status(said) for said in wire.items(found, "upstreams")]

    async def upstream(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """See `MoveVerbs`."""
        return _status(await self._http.call("GET", _of_bucket(bucket), query={"tenant": tenant}))

    async def attach_upstream(self, wish: Upstream) -> UpstreamStatus:
        """See `MoveVerbs`."""
        told = {
            "store": wish.store,
            "prefix": wish.prefix,
            "tenant": wish.tenant or None,
            "dual_write": wish.dual_write,
            "fresh": wish.fresh,
            "keep": wish.keep,
        }
        path = _of_bucket(wish.bucket)
        return _status(await self._http.call("PUT", path, json=told, repeat=Repeat.REFUSED))

    async def change_upstream(
        self,
        bucket: str,
        *,
        tenant: str | None = None,
        dual_write: bool | None = None,
        fresh: bool | None = None,
    ) -> UpstreamStatus:
        """See `MoveVerbs`."""
        told = {"dual_write": dual_write, "fresh": fresh}
        path = _of_bucket(bucket)
        return _status(await self._http.call("PATCH", path, query={"tenant": tenant}, json=told))

    async def take_upstream_back(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """See `MoveVerbs`."""
        path = f"{_of_bucket(bucket)}/back"
        return _status(await self._http.call("POST", path, query={"tenant": tenant}))

    async def detach_upstream(self, bucket: str, *, tenant: str | None = None, force: bool = False) -> None:
        """See `MoveVerbs`."""
        query = {"tenant": tenant, "force": "true" if force else None}
        await self._http.call("DELETE", _of_bucket(bucket), query=query, repeat=Repeat.REFUSED)


def _of_store(source: str) -> str:
    return f"moves/{quote(source, safe='')}"


def _of_bucket(bucket: str) -> str:
    return f"upstreams/{quote(check_bucket(bucket), safe='')}"


def _move(said: Any) -> KeptMove:
    return KeptMove(
        said["source"],
        said["target"],
        said["phase"],
        moment(said["created"]),
        moment(said["updated"]),
        wire.time_of(said["finish_at"]),
    )


def _holds(said: Any) -> StoreHolds:
    return StoreHolds(
        said["live"], said["bytes"], said["pending"], said["doomed"], wire.time_of(said["until"])
    )


def _status(said: Any) -> UpstreamStatus:
    from holdfast.engine.upstream_desk import UpstreamStatus

    upstream = Upstream(
        said["tenant"],
        said["bucket"],
        said["store"],
        said["prefix"],
        Phase(said["phase"]),
        said["dual_write"],
        said["fresh"],
        said["keep"],
        moment(said["attached"]),
        said["passes"],
        wire.time_of(said["passed"]),
        wire.time_of(said["verified"]),
        said["differences"],
    )
    owing = Owing(said["owed"], wire.time_of(said["owed_since"]), said["trouble"])
    return UpstreamStatus(upstream, owing, said["away"], said["missing"])
