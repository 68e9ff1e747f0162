"""Times of options: of ISO 8601, and how long ago."""

from __future__ import annotations

import time

import pytest

from holdfast.cli.times import moment, moment_text
from holdfast.core.errors import InvalidRequestError

pytestmark = pytest.mark.unit

DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-02", DAY),
        ("1970-01-02T00:00:00.000001Z", DAY + 1),
        ("1970-01-02T01:00:00+01:00", DAY),
        (" 1970-01-02T00:00 ", DAY),
        ("2027-01-31T12:00:00.250001Z", 1_801_396_800_250_001),
    ],
)
def test_times_are_exact(text: str, micros: int) -> None:
    assert moment(text) == micros


@pytest.mark.parametrize(
    ("span", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1.5D", 129_600), ("3w ago", 1_814_400)]
)
def test_a_span_is_so_long_ago_or_from_now(span: str, seconds: int) -> None:
    now = time.time_ns() // 1000
    assert 0 <= moment(span) - (now - seconds * 1_000_000) < 60_000_000
    assert 0 <= moment(span, ahead=True) - (now + seconds * 1_000_000) < 60_000_000


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "5", "5x", "-5d", "5d5h", "2027-13-01", "2027", "9e9d", "999999w"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"),  # no such moment in UTC
        "6M",  # minutes, or months?
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="2h, 5d"):
        moment(text)


def test_what_goes_to_a_server_is_iso() -> None:
    assert moment_text(None) is None
    assert moment_text("2027-01-31") == "2027-01-31T00:00:00Z"
    assert moment_text("2027-01-31T12:00:00.250001+00:00") == "2027-01-31T12:00:00.250001Z"
    assert str(moment_text("5d")).endswith("Z")
