"""How doors of this room come to a client by themselves, without knowing how the machine is put together.

The composition root stands above this room. So it is not imported here: it says what opens a client when the package
is imported (`provide`), and whoever needs one asks for it (`opener`).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.library.client import AsyncClient

#: Opens a client on the event loop that awaits it.
Opener: TypeAlias = "Callable[[], Awaitable[AsyncClient]]"
Target: TypeAlias = "str | os.PathLike[str] | None"
_Way: TypeAlias = "Callable[[Target, str | None, str | None, Settings | None], Opener]"

_ways: list[_Way] = []


def provide(way: _Way) -> None:
    """Say what makes an opener of target, token, certificate file and settings."""
    _ways[:] = [way]


def opener(
    target: Target = None,
    *,
    token: str | None = None,
    ca_file: str | None = None,
    settings: Settings | None = None,
) -> Opener:
    """Return what opens a client as `holdfast.open` would, which takes the same."""
    return _ways[0](target, token, ca_file, settings)
