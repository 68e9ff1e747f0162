"""Named places where a test may make the process die or fail. In production each is one comparison with None.

`HOLDFAST_FAILPOINT=put.after_store:17` makes the real server kill itself (SIGKILL) at the seventeenth pass of that
place; `scripts/torture kill` uses it. Tests in the same process use `armed`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Every name that the code passes, so that a harness can visit all of them.
NAMES: Final = (
    "put.after_begin",
    "put.after_store",
    "put.after_commit",
    "part.after_begin",
    "part.after_store",
    "part.after_commit",
    "complete.before_commit",
    "complete.after_commit",
    "append.after_piece",
    "append.before_complete",
    "append.after_complete",
    "concatenate.before_commit",
    "concatenate.after_commit",
    "copy.after_begin",
    "copy.after_store",
    "copy.after_commit",
    "delete.after_commit",
    "reconcile.after_begin",
    "reconcile.after_store",
    "reconcile.after_adopt",
    "expire.after_page",
    "tenant.after_bucket",
    "tenant.after_page",
    "sweep.after_claim",
    "sweep.after_delete",
    "sweep.after_forget",
    "adopt.after_look",
    "upstream.after_look",
    "upstream.after_put",
    "upstream.after_delete",
    "backup.after_pin",
    "backup.after_parent",
    "backup.after_rows",
    "backup.after_contents",
    "backup.before_manifest",
    "backup.after_manifest",
    "restore.after_begin",
    "restore.after_store",
    "restore.after_commit",
    "proving.after_mark",
    "fsck.after_note",
    "fsck.after_judge",
    "fsck.after_remove",
    "rebuild.after_gather",
    "rebuild.after_clear",
    "local.after_create",
    "local.after_write",
    "local.after_fsync",
    "local.after_rename",
    "local.after_unlink",
)

_hook: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Pass the place `name`."""
    if _hook is not None:
        _hook(name)


@contextmanager
def armed(hook: Callable[[str], None]) -> Iterator[None]:
    """Call `hook` with the name of each place that is passed inside the block."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


def arm_from_environment() -> None:
    """Arm `HOLDFAST_FAILPOINT=name:count`, if it is set: kill this process at that pass of that place."""
    global _hook
    wish = os.environ.get("HOLDFAST_FAILPOINT")
    if not wish:
        return
    name, _, count = wish.partition(":")
    left = int(count or "1")

    def hook(place: str) -> None:
        nonlocal left
        if place == name:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    _hook = hook
