"""The fake as a program: see the package."""

from __future__ import annotations

import json
import sys

from holdfast.testing.fakes.gcs.server import FakeGcs

with FakeGcs() as fake:
    print(json.dumps(fake.settings()), flush=True)  # noqa: T201
    sys.stdin.read()
