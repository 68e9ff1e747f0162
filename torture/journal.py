"""What a doomed process says before it dies: one JSON line per event, through a pipe, in the order of events.

A line is shorter than PIPE_BUF, so it arrives whole or not at all; what was written survives the writer.
"""

from __future__ import annotations

import json
import os
from typing import Any

Event = dict[str, Any]
_MOST = 4096


class Journal:
    """The writing end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, what: str, **facts: Any) -> None:
        """Record an event; it counts once this has returned."""
        line = json.dumps({"what": what, **facts}, separators=(",", ":")).encode() + b"\n"
        if len(line) > _MOST:
            raise ValueError("a journal line is longer than a pipe writes at once")
        os.write(self._fd, line)


def parse(data: bytes) -> list[Event]:
    """Return the events in `data`; a line that was not finished does not count."""
    return [json.loads(line) for line in data.split(b"\n")[:-1]]
