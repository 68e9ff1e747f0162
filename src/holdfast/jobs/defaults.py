"""Schedules that a service has by itself. One that is there already is left as it is, so operators may change it."""

from __future__ import annotations

from holdfast.core.errors import ConfigError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Schedule
from holdfast.engine.engine import Engine
from holdfast.jobs.kinds import Kinds
from holdfast.jobs.schedules import check_cron, next_time

SERVICE = "service"  #: who it was, in jobs and in the audit


async def schedule_once(engine: Engine, kinds: Kinds, kind: str, cron: str) -> None:
    """Schedule a kind of job for the whole service, under its own name; "" for `cron`: nothing is done.

    Raises:
        ConfigError: `cron` names no time.
    """
    if not cron:
        return
    try:
        cron = check_cron(cron)
    except InvalidRequestError as error:
        raise ConfigError(f"{kind}_schedule: {error.message}") from None
    try:
        await engine.catalog.schedule("", kind)
    except NotFoundError:
        now = await engine.catalog.now()
        spec = kinds.find(kind).check({})
        made = Schedule(
            kind, "", kind, spec, cron, principal=SERVICE, next_at=next_time(cron, after=now, since=now)
        )
        await engine.catalog.put_schedule(made)
