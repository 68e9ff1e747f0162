"""A push or pull of which much fails names some of it and counts the rest."""

from __future__ import annotations

import json

import pytest

from holdfast.cli.command import Cli
from holdfast.cli.connect import Target
from holdfast.cli.output import Output
from holdfast.cli.syncing import FAILED, NAMED, end, report_of
from holdfast.core.errors import QuotaExceededError
from holdfast.library.syncing.report import Wish

pytestmark = pytest.mark.unit


def complaints(
    capsys: pytest.CaptureFixture[str],
    *,
    failed: int,
    left_out: int,
    verbose: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> list[str]:
    """Return the lines on standard error of a run of which so much failed, and so much was left out."""
    cli, wish = Cli(Target(), Output(as_json=as_json, quiet=quiet)), Wish()
    report = report_of(cli, wish, None, verbose)
    for number in range(left_out):
        report.problem(f"link-{number}", "leads out of the tree", False)
    for number in range(failed):
        report.failure(f"file-{number}", QuotaExceededError("the bucket is full"))
    assert end(cli, report, wish, "sent") == FAILED
    shown = capsys.readouterr()
    if not (as_json or quiet):
        assert shown.out.endswith(f", {left_out} left out, {failed} failed\n")
    return shown.err.splitlines()


def test_twenty_of_each_are_named_and_the_rest_counted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = complaints(capsys, failed=NAMED + 5, left_out=NAMED + 2)
    assert [line.partition(" ")[0] for line in lines].count("holdfast:") == NAMED
    assert len(lines) == 2 * NAMED + 1
    assert lines[-1] == "and 7 more like these; --verbose names every one"
    lines = complaints(capsys, failed=NAMED + 5, left_out=0, quiet=True)
    assert (len(lines), lines[-1]) == (NAMED + 1, "and 5 more like these; --verbose names every one")


def test_as_many_as_are_named_leave_no_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(complaints(capsys, failed=NAMED, left_out=NAMED)) == 2 * NAMED


def test_verbose_and_programs_are_told_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(complaints(capsys, failed=50, left_out=1, verbose=True)) == 51
    told = complaints(capsys, failed=50, left_out=0, as_json=True)
    assert [json.loads(line)["error"]["code"] for line in told] == ["quota_exceeded"] * 50
