"""Figures as text for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.figures import Figure, Target
from bench.generator import BUSY

_COLUMNS = ("", "median", "spread", "p50 ms", "p99 ms", "peak RSS MiB", "ours ÷ it", "wanted")


def render(figures: Iterable[Figure]) -> str:
    """Return one table per figure, a line per peer, ours first."""
    return "\n\n".join(_one(figure) for figure in figures)


def _one(figure: Figure) -> str:
    peers = sorted(figure.rounds, key=lambda peer: peer != figure.ours)
    rows = [_COLUMNS, *(_row(figure, peer) for peer in peers)]
    lines = [f"{figure.title}, {figure.unit}", *_aligned(rows)]
    lines += [f"  {peer}: no number, {why}" for peer, why in figure.missing.items()]
    lines += [_no_ratio(figure, target) for target in figure.targets if figure.ratio(target.peer) is None]
    lines += _warnings(figure)
    lines += [f"  {note}" for note in figure.notes]
    return "\n".join(lines)


def _row(figure: Figure, peer: str) -> Sequence[str]:
    low, high = figure.spread(peer) or (0.0, 0.0)
    ratio = None if peer == figure.ours else figure.ratio(peer)
    target = next((target for target in figure.targets if target.peer == peer), None)
    return (
        peer,
        _number(figure.median(peer)),
        f"{low:.2f}–{high:.2f}",
        _number(figure.seen(peer, "p50_ms")),
        _number(figure.seen(peer, "p99_ms")),
        _number(figure.seen(peer, "rss_mib")),
        "" if ratio is None else f"{ratio:.2f}",
        _verdict(target, ratio) or _bound(figure, peer),
    )


def _bound(figure: Figure, peer: str) -> str:
    value = figure.median(peer)
    if figure.at_most is None or value is None or peer != figure.ours:
        return ""
    return f"≤ {figure.at_most:g} {'met' if value <= figure.at_most else 'NOT MET'}"


def _verdict(target: Target | None, ratio: float | None) -> str:
    if target is None or ratio is None:
        return ""
    return f"{target} {'met' if target.met(ratio) else 'NOT MET'}"


def _no_ratio(figure: Figure, target: Target) -> str:
    return f"  the ratio to {target.peer} (wanted {target}) cannot be given in this run"


def _warnings(figure: Figure) -> Iterable[str]:
    for peer in figure.rounds:
        if (failed := figure.seen(peer, "failed")) is not None and failed > 0:
            yield f"  {peer}: {failed:.0f} requests failed in the median round; do not trust its number"
        if (busy := figure.seen(peer, "generator_cpu")) is not None and busy >= BUSY:
            yield f"  {peer}: the generator took {busy:.0%} of a core; {peer} may be faster than shown"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    used = [
        column for column, width in enumerate(widths) if any(row[column] for row in rows[1:]) or not column
    ]
    return [
        "  "
        + "  ".join(
            row[column].ljust(widths[column]) if column == 0 else row[column].rjust(widths[column])
            for column in used
        ).rstrip()
        for row in rows
    ]
