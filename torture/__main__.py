"""`scripts/torture kill|power|variants|audit|backup|raw|quota|dialects|yandex|all`: what to run, how often, from which seed."""
# ruff: noqa: T201 - this is a program: it prints

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from torture.failing_variants import VARIANTS, Variant
from torture.ground import PlainGround, PowerGround
from torture.powerfs import MissingFuseError, require
from torture.report import Report, table
from torture.run import run, styled
from torture.trial import Style

Command = Callable[[argparse.Namespace], tuple[list[Report], bool]]
_SPREAD = 1_000_003  #: seeds of runs with neighbouring seeds do not overlap


def main() -> int:
    """Run what the command line asks for; 0 when every promise held and every failing variant failed."""
    options = _parser().parse_args()
    command: Command = options.command
    try:
        reports, sound = command(options)
    except MissingFuseError as error:
        print(f"torture: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if reports:
        print(table(reports))
    return 0 if sound else 1


def kill(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Kill the engine's process, and the real server, under load."""
    style = Style(points=options.points, variant=options.variant)
    reports = []
    served = _served(options)
    if options.trials > 0 and not (options.replay is not None and served):
        seeds = _seeds(options, options.trials)
        reports.append(run("kill", seeds, _plain(options), styled(style), workers=_workers(options, seeds)))
    if served:
        from torture.server import run_server_trial

        seeds = _seeds(options, served)
        trial = functools.partial(run_server_trial, style=style)
        reports.append(run("kill server", seeds, _plain(options), trial, workers=_workers(options, seeds)))
    return _explained(reports)


def power(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Cut the power under load."""
    require()
    seeds = _seeds(options, options.trials)
    style = Style(points=options.points, variant=options.variant)
    return _explained([run("power", seeds, PowerGround, styled(style), workers=_workers(options, seeds))])


def variants(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Run each failing variant until it fails; it is wrong when one does not."""
    reports = [_variant(options, variant) for variant in VARIANTS.values()]
    innocent = [report.name for report in reports if not report.damaged]
    for name in innocent:
        print(f"{name}: the harness found nothing, though a rule is broken")
    return reports, not innocent


def everything(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Run all of it: half as many power losses as kills, and the failing variants."""
    killed, kill_sound = kill(options)
    powered, power_sound = power(argparse.Namespace(**{**vars(options), "trials": options.trials // 2}))
    varied, variants_sound = variants(argparse.Namespace(**{**vars(options), "trials": 200, "variant": None}))
    return [*killed, *powered, *varied], kill_sound and power_sound and variants_sound


def audit(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Tamper with audits; each way must be found."""
    from torture.audit import report

    return [], report(options.trials, options.seed, replay=options.replay)


def backup(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Back up and restore with deaths, while objects change; each set must be what was there at its moment."""
    from torture.backup import report

    return [], report(options.trials, options.seed, replay=options.replay)


def raw(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Send broken requests to the real server over plain sockets; none may be believed."""
    from torture.raw import report

    return [], report(options.trials, options.seed, replay=options.replay)


def quota(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Fill quotas with many writers, killing them in the middle of what they send."""
    from torture.quota import report

    return [], report(
        options.databases,
        writers=options.writers,
        kills=options.kills,
        server_kills=options.server_kills,
        seed=options.seed,
    )


def dialects(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Try the S3 driver against every dialect of S3: its promises, and a storm of bad days."""
    from torture.dialects import report

    return [], report(options.only, faults=options.faults, seed=options.seed)


def yandex(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Store on a fake of Yandex.Disk while it fails in every way that is known; nothing acknowledged may be lost."""
    from torture.yandex import report

    return [], report(options.storms, options.seed, options.faults)


def drive(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Let everything go wrong at a fake Google Drive; nothing that was acknowledged may change or go."""
    from torture.drive import report

    return [], report(options.faults, options.seed, replay=options.replay)


def gcs(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Try the driver for Google Cloud Storage in a storm of faults on its fake."""
    import asyncio

    from torture.gcs import storm

    figures = asyncio.run(storm(options.faults, seed=options.seed))
    print(figures)
    return [], figures.sound


def azure(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Try the driver for Azure Blob in a storm of faults on the way to a real blob server."""
    import asyncio

    from torture.azure import storm

    figures = asyncio.run(storm(options.faults, seed=options.seed))
    print(figures)
    return [], figures.sound


def jobs(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Kill the processes that work on jobs; every item must be done, and counted exactly once."""
    from torture.jobs import report

    return [], report(options.databases, kills=options.kills, workers=options.workers, seed=options.seed)


def naas(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Store on a fake of Naas whose keys end at any time, while both of its servers fail."""
    import asyncio

    from torture.naas import storm

    figures = asyncio.run(storm(options.faults, seed=options.seed))
    print(figures)
    return [], figures.sound


def migrate(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Move a store to another under load, killing the process that moves it; no read may notice."""
    from torture.migrate import report

    figures = report(
        small=options.small,
        large=options.large,
        small_size=16 << 10,
        large_size=options.large_size,
        clients=options.clients,
        kills=options.kills,
        seed=options.seed,
        where=options.dir,
    )
    print(figures)
    return [], figures.sound


def live(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Leave a store that others still write to, killing what follows it; no read may be wrong, no delete come back."""
    from torture.live import report

    return [], report(options.trials, options.seed, kills=options.kills, workers=options.workers)


def failover(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Let stores fail under load, in every way; no reader may notice, and all that is owed must be made good."""
    from torture.failover import report

    return [], report(
        options.outages, options.seed, modes=options.only, workers=options.workers, minutes=options.minutes
    )


def gc(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Look for blobs without rows in stores whose listings lie; nothing live may go, nothing planted stay unseen."""
    from torture.gc import report

    return [], report(options.runs, options.seed, workers=options.workers, replay=options.replay)


def scrub(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Flip bits in stores of every kind; each must be found, none served, and all made good from another copy."""
    from torture.scrub import report

    return [], report(options.flips, options.seed, options.only)


def share(options: argparse.Namespace) -> tuple[list[Report], bool]:
    """Clone, delete and sweep at once, without grace; no bytes may go that a row needs, and none stay that none does."""
    import asyncio

    from torture.share import run as live

    figures = asyncio.run(live(options.worlds, options.seed))
    print(figures)
    return [], figures.sound


def _served(options: argparse.Namespace) -> int:
    """Return how many data directories the real server gets: none for variants, which live in this process."""
    if options.variant:
        return 0
    if options.server is not None:
        return int(options.server)
    return 0 if options.replay is not None else int(options.trials) // 25


def _variant(options: argparse.Namespace, variant: Variant) -> Report:
    seeds = _seeds(options, options.trials)
    if variant.found_by == "power":
        require()
    ground = PowerGround if variant.found_by == "power" else _plain(options)
    style = Style(points=options.points, variant=variant.name)
    return run(
        f"{variant.found_by}: {variant.name}",
        seeds,
        ground,
        styled(style),
        workers=_workers(options, seeds),
        enough=options.enough,
    )


def _explained(reports: list[Report]) -> tuple[list[Report], bool]:
    for report in reports:
        report.explain()
    return reports, all(report.sound for report in reports)


def _plain(options: argparse.Namespace) -> functools.partial[PlainGround]:
    return functools.partial(PlainGround, options.dir)


def _seeds(options: argparse.Namespace, trials: int) -> list[int]:
    if options.replay is not None:
        return [options.replay]
    return [options.seed * _SPREAD + number for number in range(trials)]


def _workers(options: argparse.Namespace, seeds: list[int]) -> int:
    return max(1, min(int(options.workers), len(seeds)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/torture", description="Kill Holdfast, cut its power, and look at what is left."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, trials in (
        ("kill", kill, 1000),
        ("power", power, 500),
        ("variants", variants, 200),
        ("audit", audit, 1000),
        ("backup", backup, 200),
        ("raw", raw, 3000),
        ("all", everything, 1000),
    ):
        sub = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0])
        sub.set_defaults(command=command)
        sub.add_argument(
            "--trials", type=int, default=trials, help="data directories to try (default: %(default)s)"
        )
        sub.add_argument(
            "--seed", type=int, default=1, help="where all choices come from (default: %(default)s)"
        )
        sub.add_argument(
            "--replay",
            type=int,
            metavar="SEED",
            help="run only the trial of this seed (of the real server with --server 1)",
        )
        sub.add_argument(
            "--points",
            choices=("random", "named", "both"),
            default="both",
            help="when to die: at a random time, at a named failpoint, or half of each",
        )
        sub.add_argument(
            "--workers",
            type=int,
            default=os.cpu_count() or 1,
            help="trials at a time (default: one per processor)",
        )
        sub.add_argument(
            "--dir",
            type=Path,
            help="where data directories are made (default: memory, if the machine has /dev/shm)",
        )
        sub.add_argument("--variant", choices=sorted(VARIANTS), help="break this rule")
        sub.add_argument(
            "--server",
            type=int,
            metavar="N",
            help="data directories to try with the real server, five kills each (default: one for 25 trials)",
        )
        sub.add_argument(
            "--enough",
            type=int,
            default=5,
            help="failing trials after which a variant is convicted (default: %(default)s)",
        )
    _add_quota(commands)
    _add_yandex(commands)
    _add_drive(commands)
    _add_dialects(commands)
    _add_migrate(commands)
    _add_storm(commands, "gcs", gcs)
    _add_storm(commands, "azure", azure)
    _add_storm(commands, "naas", naas)
    _add_jobs(commands)
    _add_live(commands)
    _add_gc(commands)
    _add_failover(commands)
    _add_scrub(commands)
    _add_share(commands)
    return parser


def _add_live(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("live", help=(live.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=live)
    sub.add_argument("--trials", type=int, default=5, help="stores that are left (default: %(default)s)")
    sub.add_argument("--kills", type=int, default=20, help="in each of them (default: %(default)s)")
    sub.add_argument("--workers", type=int, default=4, help="who write and read (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where choices come from (default: %(default)s)")


def _add_storm(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, command: Command
) -> None:
    sub = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=command)
    sub.add_argument("--faults", type=int, default=10_000, help="faults to be met (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")


def _add_migrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("migrate", help=(migrate.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=migrate)
    sub.add_argument("--small", type=int, default=100_000, help="objects of 16 KiB (default: %(default)s)")
    sub.add_argument("--large", type=int, default=100, help="large objects (default: %(default)s)")
    sub.add_argument("--large-size", type=int, default=100 << 20, help="bytes of each (default: %(default)s)")
    sub.add_argument("--clients", type=int, default=8, help="readers and writers (default: %(default)s)")
    sub.add_argument("--kills", type=int, default=20, help="times to kill the mover (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument("--dir", type=Path, help="where the data directory is made")


def _add_dialects(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("dialects", help=(dialects.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=dialects)
    sub.add_argument("--only", nargs="*", default=[], help="dialects to try (default: all)")
    sub.add_argument("--faults", type=int, default=1000, help="bad days of each (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")


def _add_yandex(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("yandex", help=(yandex.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=yandex)
    sub.add_argument("--faults", type=int, default=10_000, help="faults in all (default: %(default)s)")
    sub.add_argument("--storms", type=int, default=5, help="fakes to spread them over (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")


def _add_quota(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("quota", help=(quota.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=quota)
    sub.add_argument("--writers", type=int, default=200, help="writers at a time (default: %(default)s)")
    sub.add_argument("--kills", type=int, default=400, help="writers to kill (default: %(default)s)")
    sub.add_argument("--server-kills", type=int, default=2, help="times to kill the service too")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument(
        "--databases",
        nargs="+",
        choices=("sqlite", "postgresql"),
        default=["sqlite", "postgresql"],
        help="catalogs to try (default: both)",
    )


def _add_jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("jobs", help=(jobs.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=jobs)
    sub.add_argument("--kills", type=int, default=100, help="workers to kill (default: %(default)s)")
    sub.add_argument("--workers", type=int, default=3, help="workers at a time (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument(
        "--databases",
        nargs="+",
        choices=("sqlite", "postgresql"),
        default=["sqlite", "postgresql"],
        help="catalogs to try (default: both)",
    )


def _add_share(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("share", help=(share.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=share)
    sub.add_argument(
        "--worlds", type=int, default=200, help="catalogs that are lived through (default: %(default)s)"
    )
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")


def _add_gc(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("gc", help=(gc.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=gc)
    sub.add_argument("--runs", type=int, default=10_000, help="looks in all (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    sub.add_argument("--replay", type=int, metavar="SEED", help="live through the one world of this seed")


def _add_failover(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("failover", help=(failover.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=failover)
    sub.add_argument("--outages", type=int, default=100, help="outages of each kind (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument("--workers", type=int, default=6, help="kinds at a time (default: %(default)s)")
    sub.add_argument("--minutes", type=float, default=60.0, help="at most so long (default: %(default)s)")
    sub.add_argument(
        "--only",
        nargs="*",
        default=[],
        choices=("refused", "reset", "hole", "slow", "503", "wrong"),
        help="kinds of outages to try (default: all)",
    )


def _add_scrub(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("scrub", help=(scrub.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=scrub)
    sub.add_argument("--flips", type=int, default=1000, help="bits in all (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument(
        "--only",
        nargs="*",
        default=[],
        choices=("local", "s3", "minio", "encrypted", "cached"),
        help="kinds of stores to try (default: all)",
    )


def _add_drive(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub = commands.add_parser("drive", help=(drive.__doc__ or "").splitlines()[0])
    sub.set_defaults(command=drive)
    sub.add_argument("--faults", type=int, default=10_000, help="faults to meet (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="where all choices come from (default: %(default)s)")
    sub.add_argument("--replay", type=int, metavar="SEED", help="run only the storm of this seed")


if __name__ == "__main__":
    sys.exit(main())
