"""Backups that there are, over HTTP; for operators. They are made, proved and put back by jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from holdfast.api.exchange import Exchange
from holdfast.api.models import encode


class BackupEntry(Struct, frozen=True, kw_only=True):
    """A set, which is as everything was at `moment`; `tenant` and `bucket` "": of all. It rests on the sets in `needs`.

    `versions` with `bytes` are in it, of which `written_bytes` of contents lie in its own files, and `missing` contents
    could not be read. `recipients`: the age keys that it is encrypted to; none: it is not.
    """

    set: str
    store: str
    moment: str
    tenant: str
    bucket: str
    parent: str
    needs: list[str]
    compression: str
    recipients: list[str]
    files: int
    stored_bytes: int
    versions: int
    bytes: int
    written_bytes: int
    missing: int


class BackupList(Struct, frozen=True, kw_only=True):
    """The sets of a store. `damaged` by id, with the reason; `unfinished` ones run, or never ended."""

    store: str
    backups: list[BackupEntry]
    damaged: dict[str, str]
    unfinished: list[str]


class BackupInfo(BackupEntry, frozen=True, kw_only=True):
    """A set, who made it when and with what, and what each drill of it said."""

    made_by: str
    started: str
    ended: str
    catalog_step: str
    software: str
    drills: list[str]


async def list_backups(exchange: Exchange) -> None:
    """Answer with the sets of a store."""
    found = await exchange.session.admin.backups.all(exchange.query.get("store", ""))
    answer = BackupList(
        store=found.store,
        backups=[BackupEntry(**_common(one)) for one in found.sets],
        damaged=dict(found.damaged),
        unfinished=list(found.unfinished),
    )
    await exchange.answer_json(200, encode(answer))


async def show_backup(exchange: Exchange, set_id: str) -> None:
    """Answer with a set: by its id, the first letters of it, or `latest`."""
    found = await exchange.session.admin.backups.one(set_id, exchange.query.get("store", ""))
    answer = BackupInfo(
        **_common(found),
        made_by=found["made_by"],
        started=found["started"],
        ended=found["ended"],
        catalog_step=found["catalog_step"],
        software=found["software"],
        drills=found["drills"],
    )
    await exchange.answer_json(200, encode(answer))


def _common(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a set tells everywhere; counts that an older one does not have are 0."""
    return {name: facts.get(name, 0) for name in BackupEntry.__struct_fields__}
