"""Settings of buckets as they are asked for, sizes as they are written, and what is looked up only now and then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from holdfast.core.backend import Store
from holdfast.core.clock import ManualClock
from holdfast.core.errors import InvalidRequestError, NotFoundError, TooLargeError, UnsupportedError
from holdfast.core.sizes import parse_size, readable
from holdfast.core.types import Bucket, BucketSettings, IpRules, Quota, Visibility
from holdfast.engine import rules
from holdfast.engine.rules import Rules
from holdfast.policy.buckets import changed, check_settings, settings_members

pytestmark = pytest.mark.unit

PLAIN = BucketSettings()
FULL = {
    "visibility": "public",
    "allowed_types": ["image/*", ".CSV", "image/*"],
    "max_object_size": "100MB",
    "max_bytes": "10 GiB",
    "max_objects": 5,
    "retention_days": 30,
    "encryption": "store",
    "ip_allow": ["10.0.0.0/8"],
    "ip_deny": ["10.1.0.1"],
}


def test_all_settings_are_taken_and_given_back() -> None:
    made = changed(PLAIN, FULL)
    assert made == BucketSettings(
        Visibility.PUBLIC,
        ("image/*", ".csv"),
        100 << 20,
        Quota(10 << 30, 5),
        30,
        "store",
        IpRules(("10.0.0.0/8",), ("10.1.0.1/32",)),
    )
    assert changed(PLAIN, settings_members(made)) == made


def test_what_is_not_named_stays_and_none_takes_away() -> None:
    made = changed(PLAIN, FULL)
    assert changed(made, {}) == made
    assert changed(made, {"max_bytes": None}).quota == Quota(None, 5)
    assert changed(made, {"max_objects": 6}).quota == Quota(10 << 30, 6)
    assert changed(made, {"ip_allow": []}).ip == IpRules((), ("10.1.0.1/32",))
    assert changed(made, {"retention_days": None, "max_object_size": None, "allowed_types": []}) == replace(
        made, retention_days=None, max_object_size=None, allowed_types=()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("colour", "red"),
        ("visibility", "secret"),
        ("visibility", None),
        ("allowed_types", "image/*"),
        ("allowed_types", ["image"]),
        ("allowed_types", [1]),
        ("allowed_types", [f".x{number}" for number in range(101)]),
        ("max_object_size", -1),
        ("max_object_size", "-1"),
        ("max_object_size", "12 parsecs"),
        ("max_object_size", 1.5),
        ("max_object_size", True),
        ("max_bytes", 1 << 63),
        ("max_bytes", "9" * 39),
        ("max_objects", -1),
        ("max_objects", "5"),
        ("retention_days", 0),
        ("retention_days", 100_000),
        ("encryption", "rot13"),
        ("encryption", None),
        ("ip_allow", ["10.0.0.0/33"]),
        ("ip_deny", ["nowhere"]),
        ("ip_deny", None),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        changed(PLAIN, {name: value})


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(InvalidRequestError, match="retention_days"):
        check_settings(BucketSettings(retention_days=0))
    with pytest.raises(InvalidRequestError, match="max_bytes"):
        check_settings(BucketSettings(quota=Quota(-5)))


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("64KB", 65536), ("1.5 GiB", 3 << 29), (" 7 b ", 7), ("2t", 2 << 40), ("100mb", 100 << 20)],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1e9", "-1", "1 XB", "٣", "1" * 50, "1,5GB", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_sizes_as_people_read_them() -> None:
    shown = [readable(size) for size in (0, 1023, 1024, 1536, int(2.3 * (1 << 30)), 1 << 60)]
    assert shown == ["0 B", "1023 B", "1.0 KB", "1.5 KB", "2.3 GB", "1024.0 PB"]


class Shelf:
    """Stands in for the catalog: one bucket, and how often it was asked for."""

    def __init__(self) -> None:
        self.held: Bucket | None = Bucket("t", "b", 1)
        self.asked = 0

    async def bucket(self, tenant: str, name: str) -> Bucket:
        self.asked += 1
        if self.held is None:
            raise NotFoundError("there is no such bucket", name=name)
        return self.held


def test_a_bucket_is_looked_up_once_a_second() -> None:
    async def story() -> None:
        shelf, clock = Shelf(), ManualClock()
        held: Any = shelf
        known = Rules(held, clock)
        for _ in range(100):
            assert await known.bucket("t", "b") == Bucket("t", "b", 1)
        assert shelf.asked == 1
        shelf.held = Bucket("t", "b", 1, metered=True)
        assert not (await known.bucket("t", "b")).metered
        clock.advance(1.1)
        assert (await known.bucket("t", "b")).metered
        shelf.held = Bucket("t", "b", 2)
        known.forget("t", "b")
        assert (await known.bucket("t", "b")).created == 2
        shelf.held = None
        clock.advance(1.1)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await known.bucket("t", "b")
        shelf.held = Bucket("t", "b", 3)
        assert (await known.bucket("t", "b")).created == 3, "that it was missing must not be remembered"
        for number in range(10_000):
            known.learn(Bucket("t", f"b{number}", 1))
        assert len(known._known) <= 4096

    asyncio.run(story())


def bucket_with(**settings: Any) -> Bucket:
    return Bucket("t", "b", 1, settings=BucketSettings(**settings))


@pytest.mark.parametrize(
    ("own", "service", "most"), [(None, None, None), (5, None, 5), (None, 7, 7), (5, 7, 5), (9, 7, 7)]
)
def test_the_smaller_limit_counts(own: int | None, service: int | None, most: int | None) -> None:
    bucket = bucket_with(max_object_size=own)
    assert rules.largest(bucket, service) == most
    if most is not None:
        rules.check_size(bucket, most, service)
        with pytest.raises(TooLargeError):
            rules.check_size(bucket, most + 1, service)


def test_types_by_name_and_by_content() -> None:
    bucket = bucket_with(allowed_types=("image/png", ".csv"))
    rules.check_type(bucket, "a.png", "image/png")
    rules.check_type(bucket, "a.csv", "text/csv")
    with pytest.raises(InvalidRequestError, match=r"takes image/png, \.csv"):
        rules.check_type(bucket, "a.gif", "image/gif")
    rules.check_content(bucket, "a.png", "image/png", b"\x89PNG\r\n\x1a\n....")
    with pytest.raises(InvalidRequestError):
        rules.check_content(bucket, "a.png", "image/png", b"<!doctype html><html><script>")
    rules.check_content(bucket_with(), "a.png", "image/png", b"<!doctype html>")


def test_encryption_is_a_matter_of_labels() -> None:
    driver: Any = None
    stores = {"open": Store("open", driver), "shut": Store("shut", driver, labels=frozenset({"encrypted"}))}
    asking = bucket_with(encryption="store")
    rules.check_encryption(asking, stores, ["shut"])
    rules.check_encryption(bucket_with(), stores, ["open", "shut"])
    with pytest.raises(UnsupportedError, match="open has no label 'encrypted'"):
        rules.check_encryption(asking, stores, ["shut", "open"])
