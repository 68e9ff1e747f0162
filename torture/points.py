"""The places where a trial may die: those that its load passes."""

from __future__ import annotations

from typing import Final

from holdfast.core import failpoints

_OF_THE_LOAD: Final = ("put", "part", "complete", "copy", "delete", "sweep", "local")

POINTS: Final = tuple(name for name in failpoints.NAMES if name.partition(".")[0] in _OF_THE_LOAD)
