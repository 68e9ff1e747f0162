"""Which file each command is in, so that one of them can be built without the others."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

OBJECTS: Final = "Objects"
OPERATE: Final = "Run and look after it"

#: By panel of the help, in its order: modules of this package, and the words that each adds to the command line.
ROOMS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    OBJECTS: {
        "put": ("put",),
        "get": ("get", "cat"),
        "push": ("push",),
        "pull": ("pull",),
        "ls": ("ls",),
        "find": ("find",),
        "stat": ("stat",),
        "tag": ("tag",),
        "cp": ("cp",),
        "rm": ("rm",),
        "versions": ("versions",),
        "presign": ("presign",),
        "bucket": ("mb", "rb"),
        "bucket_settings": ("bucket",),
        "lifecycle": ("lifecycle",),
        "hold": ("hold", "lock"),
        "snapshot": ("snapshot",),
    },
    OPERATE: {
        "serve": ("serve",),
        "health": ("health",),
        "store": ("store",),
        "catalog": ("catalog",),
        "sweep": ("sweep",),
        "scrub": ("scrub",),
        "fsck": ("fsck",),
        "findings": ("findings",),
        "reconcile": ("reconcile",),
        "adopt": ("adopt",),
        "upstream": ("upstream",),
        "moving": ("migrate", "drain", "mirror", "move"),
        "tiering": ("tier", "archive", "recall"),
        "config": ("config",),
        "apply": ("plan", "apply"),
        "tenant": ("tenant",),
        "key": ("key",),
        "token": ("token",),
        "audit": ("audit",),
        "cost": ("cost",),
        "placement": ("placement",),
        "dvc": ("dvc",),
        "encryption": ("encryption",),
        "backup": ("backup",),
        "restore": ("restore",),
        "job": ("job",),
        "schedule": ("schedule",),
    },
}
#: The module and the panel of every word.
WORDS: Final = {
    word: (module, panel)
    for panel, rooms in ROOMS.items()
    for module, words in rooms.items()
    for word in words
}


def register(app: typer.Typer, module: str, panel: str) -> None:
    """Add the commands of a module to the command line."""
    import_module(f"holdfast.cli.{module}").register(app, panel)
