"""The verbs on holds, locks and lifecycle rules over a server's REST door."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from holdfast.core.names import check_bucket, check_key
from holdfast.core.retention import Keeping, LockMode, moment
from holdfast.core.types import ObjectRef
from holdfast.engine.retention import Kept, LifeExplained, Wished
from holdfast.library.http.transport import Transport
from holdfast.library.keeping import KeepingVerbs
from holdfast.policy.lifecycle import Action
from holdfast.policy.lifecycle_form import moment_of


class HttpKeeping(KeepingVerbs):
    """Holds and locks at a server. What has it sets `_http`."""

    _http: Transport

    async def keeping(self, bucket: str, key: str, *, version_id: str | None = None) -> Kept:
        """See `KeepingVerbs`."""
        query = {"version_id": version_id}
        return _kept(await self._http.call("GET", _path("retention", bucket, key), query=query))

    async def hold(
        self, bucket: str, key: str, on: bool = True, *, version_id: str | None = None, reason: str = ""
    ) -> Kept:
        """See `KeepingVerbs`."""
        wish, query = {"hold": on, "reason": reason}, {"version_id": version_id}
        return _kept(await self._http.call("PUT", _path("hold", bucket, key), query=query, json=wish))

    async def lock(
        self,
        bucket: str,
        key: str,
        mode: LockMode | None,
        *,
        until: int | None = None,
        days: int | None = None,
        version_id: str | None = None,
        reason: str = "",
    ) -> Kept:
        """See `KeepingVerbs`. Times travel as whole seconds, rounded up."""
        wish: dict[str, Any] = {
            "mode": None if mode is None else mode.value,
            "until": None if until is None else moment(until),
            "days": days,
            "reason": reason,
        }
        query = {"version_id": version_id}
        return _kept(await self._http.call("PUT", _path("retention", bucket, key), query=query, json=wish))

    async def explain_lifecycle(
        self, bucket: str, key: str, *, version_id: str | None = None
    ) -> LifeExplained:
        """See `KeepingVerbs`."""
        path = _path("lifecycle/explain", bucket, key)
        said = await self._http.call("GET", path, query={"version_id": version_id})
        return LifeExplained(
            _ref(said),
            said["version_id"],
            _keeping(said),
            [_wished(one) for one in said["wishes"]],
            [(one["rule"], one["why"]) for one in said["not_meant"]],
            None if said["now"] is None else _wished(said["now"]),
            said["refused"],
            _time(said["expires"]),
        )


def _path(what: str, bucket: str, key: str) -> str:
    return f"{what}/{quote(check_bucket(bucket), safe='')}/{quote(check_key(key), safe='/~')}"


def _kept(said: Any) -> Kept:
    return Kept(_ref(said), said["version_id"], _keeping(said))


def _ref(said: Any) -> ObjectRef:
    return ObjectRef("", said["bucket"], said["key"])


def _keeping(said: Any) -> Keeping:
    mode = said["mode"]
    return Keeping(said["hold"], None if mode is None else LockMode(mode), _time(said["until"]))


def _wished(said: Any) -> Wished:
    return Wished(said["rule"], Action(said["action"]), _time(said["due"]), said["why"], said["to"] or "")


def _time(text: str | None) -> int | None:
    return None if text is None else moment_of(text)
