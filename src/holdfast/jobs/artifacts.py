"""Reads of artifacts, written down from time to time, for as long as the process lives."""

from __future__ import annotations

from typing import Final

from holdfast.engine.engine import Engine
from holdfast.jobs.repeat import repeat

_INTERVAL: Final = 5.0  #: seconds; what is counted in between is lost with a process that is killed


async def keep_counting_reads(engine: Engine) -> None:
    """Write down how often artifacts were read, every few seconds until cancelled; the engine does so when it closes."""
    await repeat("counting reads of artifacts", engine.count_reads, _INTERVAL, engine.context.environment)
