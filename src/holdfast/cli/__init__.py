"""The command line: one file per noun.

Comes in: arguments, `HOLDFAST_*` variables, a terminal or a pipe. Goes out: tables for people, one JSON object per line
for programs (`--json`), one line per error on standard error, and the exit statuses of `cli.exit`. Promises: nothing is
removed that `--dry-run` would not have named; a local file appears whole or not at all; no traceback and no secret is
shown; heavy modules are imported only by the commands that need them.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process.

    It ends by `os._exit` once the output is flushed: the threads of the object-store client may still be handing over
    a result, and an interpreter that is being taken down under them aborts now and then.
    """
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 141  # the reader went away; ValueError: the stream was closed
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    from holdfast.cli import quick

    try:
        if quick.knows(arguments):
            quick.run(arguments)
        else:
            from holdfast.cli.app import app

            app(arguments, prog_name="holdfast")
    except KeyboardInterrupt:  # before the command had begun
        from holdfast.cli.exit import INTERRUPTED

        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
