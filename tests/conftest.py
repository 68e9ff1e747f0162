"""Fixtures that start what a test run needs; everything ends with the run."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hypothesis import settings

from tests import room

room.choose()

settings.register_profile("untimed", deadline=None)  # how long an example takes is for benchmarks
settings.load_profile("untimed")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell's background job: commands would not hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
