"""Decisions about backups: which stay, how they are cut, and where a version is put back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.core.errors import InvalidRequestError
from holdfast.core.records import Standing
from holdfast.policy.backups import BackupSettings, Keep, Kept, Place, keeping, place_of

pytestmark = pytest.mark.unit


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1e6)


DAYS = [
    Kept("a", at("2026-01-05")),
    Kept("b", at("2026-01-31")),
    Kept("c", at("2026-02-01T08:00")),
    Kept("d", at("2026-02-01T20:00"), ("c",)),
    Kept("e", at("2026-02-02"), ("d", "c")),
    Kept("f", at("2026-02-10")),
]


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        (Keep(last=1), "f"),
        (Keep(last=2), "cdef"),
        (Keep(daily=2), "cdef"),
        (Keep(daily=3), "cdef"),
        (Keep(weekly=2), "cdef"),
        (Keep(monthly=2), "bf"),
        (Keep(monthly=9), "bf"),
        (Keep(last=1, monthly=1), "f"),
        (Keep(last=99), "abcdef"),
    ],
)
def test_what_is_kept_and_what_it_rests_on(keep: Keep, stay: str) -> None:
    assert keeping(DAYS, keep) == set(stay)


def test_keeping_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="how many"):
        keeping(DAYS, Keep())


def test_a_backup_is_split_when_it_is_larger_than_one_file_may_be() -> None:
    usual = BackupSettings()
    assert usual.file_size(1000) == usual.file_size(500 << 20) == 500 << 20
    assert usual.file_size((500 << 20) + 1) == 100 << 20
    assert BackupSettings(split=False).file_size(1 << 40) >= 1 << 40


MOMENT = 1000
NONE = Standing(versioning=False)


def there(*, created: int, seq: int = 5, versioning: bool = False, **more: bool) -> Standing:
    return Standing(versioning, "head", seq, created, **more)


@pytest.mark.parametrize(
    ("found", "current", "overwrite", "place"),
    [
        (NONE, True, False, Place.OWN),
        (NONE, False, True, Place.OWN),
        # the version itself is there
        (there(created=9, here=True), True, False, Place.THERE),
        (there(created=9, here=True), True, True, Place.AGAIN),
        (there(created=2000, here=True), True, False, Place.THERE),
        (there(created=2000, here=True), True, True, Place.AGAIN),
        (there(created=2000, here=True), False, True, Place.THERE),
        # something newer is there
        (there(created=2000), True, False, Place.KEPT),
        (there(created=2000), False, False, Place.KEPT),
        (there(created=2000), True, True, Place.TOP),
        (there(created=2000), False, True, Place.KEPT),
        (there(created=2000, versioning=True), True, False, Place.OWN),
        (there(created=2000, versioning=True), True, True, Place.TOP),
        (there(created=2000, versioning=True, taken=True), True, False, Place.TAKEN),
        (there(created=2000, versioning=True, taken=True), False, True, Place.TAKEN),
        # what is there is of the backup's time
        (there(created=900, seq=2), True, False, Place.OWN),
        (there(created=900, seq=2), False, False, Place.OWN),
        (there(created=900, seq=9), True, False, Place.KEPT),
        (there(created=900, seq=9), True, True, Place.TOP),
        (there(created=900, seq=3, taken=True), True, False, Place.KEPT),
        (there(created=900, seq=3, taken=True), True, True, Place.TOP),
    ],
)
def test_where_a_version_is_put_back(found: Standing, current: bool, overwrite: bool, place: Place) -> None:
    assert (
        place_of(found, version_id="mine", seq=3, current=current, moment=MOMENT, overwrite=overwrite)
        is place
    )


def test_a_version_that_is_the_newest_already_is_not_put_on_top_of_itself() -> None:
    found = Standing(True, "mine", 3, 2000, here=True)
    how = {"seq": 3, "current": True, "moment": MOMENT, "overwrite": True}
    assert place_of(found, version_id="mine", **how) is Place.THERE  # type: ignore[arg-type]
