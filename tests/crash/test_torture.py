"""A few trials of each torture, so that the harness itself keeps working; the long runs are `scripts/torture`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.testing.servers import rclone_s3
from holdfast.testing.servers import require as require_server
from torture.powerfs import MissingFuseError, require

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]
ROOT = Path(__file__).parent.parent.parent


def torture(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own: it forks, which this one, full of threads, must not."""
    return subprocess.run(
        [sys.executable, "-m", "torture", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )


def powered() -> None:
    try:
        require()
    except MissingFuseError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_kills_of_the_process_break_no_promise() -> None:
    done = torture("kill", "--trials", "12", "--seed", "7", "--server", "0")
    assert done.returncode == 0, done.stdout + done.stderr


def test_kills_of_the_server_break_no_promise() -> None:
    done = torture("kill", "--trials", "0", "--server", "1", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr


def test_backups_that_die_are_what_was_there_at_their_moment() -> None:
    done = torture("backup", "--trials", "1", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 trials" in done.stdout
    assert " 0 failed" in done.stdout


def test_losses_of_power_break_no_promise() -> None:
    powered()
    done = torture("power", "--trials", "8", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("death", "variant"), [("kill", "commit-first"), ("power", "no-file-fsync"), ("power", "sqlite-off")]
)
def test_a_broken_rule_is_found(death: str, variant: str) -> None:
    if death == "power":
        powered()
    done = torture(death, "--trials", "20", "--seed", "1", "--variant", variant)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "replay with --replay" in done.stdout


def test_stores_that_fail_under_load_are_not_noticed() -> None:
    with require_server(rclone_s3):  # it starts its own; this says whether it can
        pass
    done = torture("failover", "--outages", "1", "--only", "refused", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 outages (1 refused)" in done.stdout
