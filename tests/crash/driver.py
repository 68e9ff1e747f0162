"""Runs one flow once per fault and checks the five invariants after each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core.errors import ConflictError, HoldfastError, NotFoundError
from holdfast.engine.engine import Engine
from holdfast.policy.placement import Rule
from tests.crash.flows import Flow, Here, Notes
from tests.crash.invariants import Picture, check_described, check_now, check_swept, picture
from tests.crash.tripwire import Death, Fault, Kind, Tripwire, When
from tests.crash.worlds import Databases, World

_DAY = 86_400.0


@dataclass
class Tally:
    """What was tried, and what went wrong where."""

    calls: list[str] = field(default_factory=list)
    faults: int = 0
    tripped: int = 0
    acknowledged: int = 0
    happened: int = 0  #: not acknowledged, and done all the same
    violations: list[str] = field(default_factory=list)


@dataclass
class Expected:
    """The picture before the flow acts and after."""

    old: Picture
    new: Picture


def drive(
    flow: Flow,
    bucket: str,
    base: Path,
    stores: tuple[str, ...],
    *,
    variant: Callable[[], AbstractContextManager[None]] = nullcontext,
    calls: Callable[[str], bool] = lambda label: True,
    databases: Databases | None = None,
    inline: int = 0,
    rule: Rule | None = None,
    describing: bool = False,
    enough: int = 1_000_000,
) -> Tally:
    """Fail `flow` at every call whose label `calls` wants, in every way; stop after `enough` violations."""

    async def work() -> Tally:
        world = World(
            base / "start", stores, databases=databases, inline=inline, rule=rule, describing=describing
        )
        start, notes = await _prepared(flow, bucket, world)
        tally = Tally()
        with variant():
            expected = await _undisturbed(flow, bucket, start, base, notes, tally)
            for number, fault in enumerate(_faults(tally.calls, calls)):
                await _try(
                    flow,
                    bucket,
                    await start.twin(base / f"f{number}", 100 + number),
                    notes,
                    expected,
                    fault,
                    tally,
                )
                if len(tally.violations) >= enough:
                    break
        return tally

    return _run(work())


def _run(work: Coroutine[Any, Any, Tally]) -> Tally:
    return asyncio.run(asyncio.wait_for(work, 110))


def _faults(labels: list[str], wanted: Callable[[str], bool]) -> Iterator[Fault]:
    for number, label in enumerate(labels, 1):
        moments = tuple(When) if label.endswith(".put") else (When.BEFORE, When.AFTER)
        if wanted(label):
            for kind, when in itertools.product(Kind, moments):
                yield Fault(number, kind, when)


async def _prepared(flow: Flow, bucket: str, world: World) -> tuple[World, Notes]:
    notes: Notes = {}
    await world.found()
    async with world.opened() as (engine, session):
        await flow.prepare(Here(engine, session, world.clock, bucket, notes))
        await engine.sweep() if flow.name != "sweep" else None
    return world, notes


async def _undisturbed(
    flow: Flow, bucket: str, start: World, base: Path, notes: Notes, tally: Tally
) -> Expected:
    world, wire = await start.twin(base / "whole", 99), Tripwire()
    async with world.opened() as (engine, session):
        old = await picture(session)
    async with world.opened(wire) as (engine, session):
        await flow.act(Here(engine, session, world.clock, bucket, dict(notes)))
    tally.calls = wire.labels
    async with world.opened() as (engine, session):
        new = await picture(session)
        await check_now(engine, session)
    return Expected(old, new)


async def _try(
    flow: Flow, bucket: str, world: World, notes: Notes, expected: Expected, fault: Fault, tally: Tally
) -> None:
    wire = Tripwire(fault)
    tally.faults += 1
    acknowledged = await _act(flow, bucket, world, notes, wire)
    tally.tripped += wire.tripped
    tally.acknowledged += acknowledged
    try:
        seen = await _check_reopened(world, expected, acknowledged)
        tally.happened += not acknowledged and seen == expected.new != expected.old
        await _check_retry(flow, bucket, world, notes, expected)
        await _check_emptied(world)
    except (AssertionError, HoldfastError) as error:
        label = tally.calls[fault.call - 1] if fault.call <= len(tally.calls) else "?"
        tally.violations.append(f"{flow} in {bucket}, {fault} ({label}): {type(error).__name__}: {error}")


async def _act(flow: Flow, bucket: str, world: World, notes: Notes, wire: Tripwire) -> bool:
    """Let the flow meet its fault; return whether it was acknowledged."""
    async with world.opened(wire) as (engine, session):
        try:
            await flow.act(Here(engine, session, world.clock, bucket, dict(notes)))
        except (Death, HoldfastError):
            return False
        return not wire.dead


async def _check_reopened(world: World, expected: Expected, acknowledged: bool) -> Picture:
    async with world.opened() as (engine, session):
        seen = await picture(session)
        assert seen in (expected.old, expected.new), f"(a) neither old nor new: {_difference(seen, expected)}"
        assert not acknowledged or seen == expected.new, "acknowledged and lost"
        await check_now(engine, session)
        if world.describing:
            await check_described(engine, swept=False)
        world.clock.advance(_DAY + 3_600)
        await _sweep(engine)
        assert await picture(session) == seen, "a sweep changed what clients see"
        await check_swept(engine, session)
        return seen


async def _check_retry(flow: Flow, bucket: str, world: World, notes: Notes, expected: Expected) -> None:
    """A client that tries again gets what it wanted, or hears that it has it already."""
    async with world.opened() as (engine, session):
        try:
            await flow.act(Here(engine, session, world.clock, bucket, dict(notes)))
        except (NotFoundError, ConflictError):
            pass  # an abort, or a part of an upload, that succeeded the first time
        if flow.repeatable:
            assert await picture(session) == expected.new, "trying again does not lead to the new state"
        await check_now(engine, session)


async def _check_emptied(world: World) -> None:
    """Past every lease, grace and upload lifetime only live bytes remain."""
    async with world.opened() as (engine, session):
        world.clock.advance(8 * _DAY)
        await _sweep(engine)
        world.clock.advance(2 * _DAY)  # the parts of uploads that have just expired have a grace too
        await _sweep(engine)
        await check_swept(engine, session)
        if world.describing:
            await check_described(engine, swept=True)
        for bucket in ("plain", "kept"):
            assert not (await session.list_uploads(bucket))[0], "(c) an upload outlived its time"


async def _sweep(engine: Engine) -> None:
    report = await engine.sweep()
    assert not report.failed, f"a sweep failed: {report.reasons}"


def _difference(seen: Picture, expected: Expected) -> str:
    return (
        "; ".join(
            f"{name}: {seen[name]}, old {expected.old[name]}, new {expected.new[name]}"
            for name in seen
            if seen[name] not in (expected.old[name], expected.new[name])
        )
        or "a mixture"
    )
