"""Which of two is newer: what a foreign store has of a key, or what is here. A pure function.

Times of stores are compared in whole seconds, which is what all of them tell. Where times decide, the clocks of the store
and of the catalog must agree as far as a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.core.adopted import Divergence, Found, HeldKey, Verdict, Way

_SECOND: Final = 1_000_000


def judge(found: Found, held: HeldKey, way: Way, *, certain: bool = False) -> Verdict:
    """Return what becomes of `found`. `certain`: the store was asked for this key after `held` was read.

    A listing may be older than what is here, so a change that it shows is only believed when it is `certain`.
    """
    divergence = held.divergence
    if divergence is not None:
        verdict = _diverged(found, divergence, way)
    elif not held.version_id:
        return Verdict.TAKE
    elif held.pin and not held.deleted:
        if _same(found, held.pin, held.created):
            return Verdict.SAME
        verdict = Verdict.TAKE
    else:  # written or deleted here before anybody remembered such things
        newer = way.follows and _whole(found.modified) > _whole(held.created)
        verdict = Verdict.TAKE if newer else Verdict.OURS
    return Verdict.LOOK if verdict is Verdict.TAKE and not certain else verdict


def _diverged(found: Found, divergence: Divergence, way: Way) -> Verdict:
    if divergence.pin and _same(found, divergence.pin, divergence.modified):
        return Verdict.OURS  # it is what was replaced, or what we wrote out
    if divergence.owed and way.writes:  # whoever writes it out looks what is there
        newer = False
    elif divergence.deleted:
        newer = _whole(found.modified) >= _whole(divergence.at)
    elif not divergence.owed:  # ours was there: what is there now came after it
        newer = _whole(found.modified) >= _whole(divergence.modified)
    else:
        newer = _whole(found.modified) > _whole(divergence.at)
    return Verdict.TAKE if newer else Verdict.OURS


def _same(found: Found, pin: str, modified: int) -> bool:
    return found.pin == pin and _whole(found.modified) == _whole(modified)


def _whole(moment: int) -> int:
    return moment // _SECOND


def shrank(missing: int, known: int, *, share: float, empty: bool = False) -> bool:
    """Tell whether a listing misses so much that it is not to be believed: more than one object and that share.

    One that is `empty`, or misses all, is believed with share 1 alone: a folder that is not mounted looks so.
    """
    if share >= 1:
        return False
    return bool(missing) and (empty or missing >= known or missing > max(1, known * share))


def mapped(name: str, *, strip: str = "", add: str = "") -> str | None:
    """Return the key that a store's `name` gets; None when it does not begin with `strip`."""
    return add + name[len(strip) :] if name.startswith(strip) else None


def halves(samples: Sequence[str], parts: int) -> list[str]:
    """Return at most `parts - 1` of the sorted `samples` that cut them into about equal stretches."""
    if parts <= 1 or len(samples) < parts:
        return []
    cuts = [samples[len(samples) * number // parts] for number in range(1, parts)]
    return list(dict.fromkeys(cuts))
