"""When a schedule is due next: in UTC, after now, missed times left out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.core.errors import InvalidRequestError
from holdfast.jobs.schedules import check_cron, next_time

pytestmark = pytest.mark.unit
SECOND = 1_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("cron", "now", "wanted"),
    [
        ("30 2 * * *", "2026-03-29 01:00:00", "2026-03-29 02:30:00"),
        ("30 2 * * *", "2026-03-29 02:30:00", "2026-03-30 02:30:00"),
        ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
        ("*/15 * * * *", "2026-12-31 23:50:00", "2027-01-01 00:00:00"),
        ("0 9 * * mon-fri", "2026-11-21 12:00:00", "2026-11-23 09:00:00"),
    ],
)
def test_five_fields(cron: str, now: str, wanted: str) -> None:
    assert next_time(cron, after=at(now)) == at(wanted)
    assert next_time(cron, after=at(now) - 1) <= at(wanted)


def test_every_so_many_seconds_keeps_its_beat() -> None:
    assert next_time("@every 10", after=100 * SECOND, since=100 * SECOND) == 110 * SECOND
    assert next_time("@every 10", after=137 * SECOND + 5, since=100 * SECOND) == 140 * SECOND
    assert next_time("@every 10", after=140 * SECOND, since=100 * SECOND) == 150 * SECOND


def test_what_names_no_time_is_refused() -> None:
    assert check_cron("  30  2 * * * ") == "30 2 * * *"
    for wrong in ("", "* * * *", "* * * * * *", "@daily", "@every 0", "@every x", "61 * * * *", "0 0 30 2 *"):
        with pytest.raises(InvalidRequestError):
            check_cron(wrong)
