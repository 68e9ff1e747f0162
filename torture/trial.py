"""One trial: load, death, judgement; perhaps again on what is left. Everything chosen comes from the trial's seed."""
# ruff: noqa: S311 - chance is replayable on purpose

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from holdfast.core import failpoints
from torture.failing_variants import VARIANTS, lossy_commits
from torture.ground import Ground
from torture.journal import Journal, parse
from torture.model import Model
from torture.points import POINTS
from torture.processes import died_of, fork
from torture.service import EngineClient, engine_on
from torture.verify import Verdict, verify
from torture.workload import Load

_START_SECONDS = 30.0
_JUDGE_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What a seed chooses for one life: when it ends and under which circumstances."""

    point: str | None  #: die at this failpoint…
    passes: int  #: …at this pass of it
    delay: float  #: else after so many seconds
    from_start: bool  #: counted from the start of the process, not of the load
    lossy: bool  #: some commits take effect and report an error
    grace: float
    actors: int


@dataclass
class Outcome:
    """What came of a trial. Sent between processes as JSON."""

    seed: int
    deaths: int = 0
    hit: list[str] = field(default_factory=list)  #: failpoints at which it died
    answered: int = 0
    violations: list[tuple[str, str]] = field(default_factory=list)
    restart: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Style:
    """What all trials of a run have in common."""

    points: str = "both"  #: random, named or both
    variant: str | None = None
    lossy: bool = True


def choose(chance: Random, style: Style) -> Plan:
    """Return what `chance` chooses."""
    named = style.points == "named" or (style.points == "both" and chance.random() < 0.5)
    variant = VARIANTS.get(style.variant or "")
    return Plan(
        point=chance.choice(POINTS) if named else None,
        passes=1 + int(chance.expovariate(1 / 6)),
        delay=chance.uniform(0.0, 0.25),
        from_start=chance.random() < 0.15,
        lossy=style.lossy and (chance.random() < 0.15 or (variant is not None and variant.lossy)),
        grace=chance.choice((0.0, 0.0, 3600.0)),
        actors=chance.choice((1, 4, 4, 8)),
    )


def run_trial(seed: int, ground: Ground, style: Style) -> Outcome:
    """Return what came of the trial of `seed`. A third of the trials die twice, a twentieth starts from nothing."""
    chance = Random(seed)  # replayable on purpose
    outcome, model = Outcome(seed), Model()
    began = time.monotonic()
    data = ground.fresh(empty=chance.random() < 0.05)
    lives = 2 if chance.random() < 0.33 else 1
    for life in range(lives):
        plan = choose(chance, style)
        point = live_and_die(data, plan, model, chance.getrandbits(32), life, style)
        outcome.deaths += 1
        outcome.hit += [point] if point else []
        ground.die(chance)
        verdict = judge(data, model, style, final=life == lives - 1)
        outcome.violations += verdict.violations
        outcome.restart = max(outcome.restart, verdict.restart)
        if verdict.violations:
            break
        model.settle(verdict.found)
    outcome.answered = model.answered
    outcome.seconds = time.monotonic() - began
    return outcome


def live_and_die(data: Path, plan: Plan, model: Model, seed: int, life: int, style: Style) -> str | None:
    """Let a service live under load on `data` and kill it; return the failpoint at which it died, if it was one."""
    with fork(lambda journal: _live(data, plan, journal, seed, life, style)) as child:
        if not plan.from_start:
            child.listen(_START_SECONDS, b'"ready"')
        child.listen(plan.delay if plan.point is None else 2.0, b'"done"')
        by_itself = child.ended
        status = child.kill()
    model.hear(parse(bytes(child.said)))
    if not died_of(status, signal.SIGKILL):
        model.complaints.append(f"the service ended by itself (status {status})")
    return plan.point if by_itself and plan.point else None


def _live(data: Path, plan: Plan, journal: Journal, seed: int, life: int, style: Style) -> None:
    chance = Random(seed)

    async def work() -> None:
        async with engine_on(data, grace=plan.grace) as (engine, session):
            journal.say("ready")
            load = Load(
                EngineClient(engine, session), journal, chance, first=life * 100_000, actors=plan.actors
            )
            with lossy_commits(engine.catalog, Random(seed + 1)) if plan.lossy else nullcontext():
                await load.run()
            journal.say("done")
            await asyncio.sleep(60)  # dies idle

    with failpoints.armed(_dying(plan)), _broken(style):
        asyncio.run(work())


def _broken(style: Style) -> AbstractContextManager[None]:
    """Break the rule that the style wants broken, if any."""
    return VARIANTS[style.variant].applied() if style.variant else nullcontext()


def _dying(plan: Plan) -> Callable[[str], None]:
    left = plan.passes

    def pass_by(name: str) -> None:
        nonlocal left
        if name == plan.point:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return pass_by


def judge(data: Path, model: Model, style: Style, *, final: bool) -> Verdict:
    """Return what `verify` finds, looked at by a child."""

    def look(journal: Journal) -> None:
        with _broken(style):  # a variant that names files otherwise must be read by its own rules
            verdict = asyncio.run(verify(data, model, final=final))
        for kind, text in verdict.violations:
            journal.say("wrong", kind=kind, text=text)
        journal.say(
            "found",
            found=[[*key, content] for key, content in verdict.found.items()],
            restart=verdict.restart,
        )

    with fork(look) as child:
        child.listen(_JUDGE_SECONDS)
        if not child.ended:
            return Verdict([("broken", f"nothing came up again within {_JUDGE_SECONDS:.0f} s")])
        status = child.wait()
    verdict = Verdict()
    if status != 0:
        verdict.wrong("broken", f"looking at what is left failed (status {status}); see the traceback")
    for event in parse(bytes(child.said)):
        if event["what"] == "wrong":
            verdict.wrong(event["kind"], event["text"])
        elif event["what"] == "found":
            verdict.found = {(bucket, key): content for bucket, key, content in event["found"]}
            verdict.restart = event["restart"]
    model.complaints.clear()
    return verdict
