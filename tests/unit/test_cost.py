"""Prices and what is made of them: exact amounts, allowances, minima, and what is not known stays unknown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from holdfast.config.prices import price_rows
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.policy.comparing import TYPICAL, TYPICAL_KEY, Portion, compare
from holdfast.policy.cost import (
    Billing,
    Estimate,
    Use,
    money,
    month_cost,
    monthly,
    move_cost,
    priced_size,
    shares,
    tiered,
)
from holdfast.policy.prices import PriceBook, parse

pytestmark = pytest.mark.unit

GB = 10**9
BOOK = parse(*price_rows(None))


def amounts(estimate: Estimate) -> dict[str, Decimal | None]:
    return {line.what: line.amount for line in estimate.lines}


def book_of(**row: Any) -> PriceBook:
    return parse({"it": row})


# -- the book ---------------------------------------------------------------------------------------------------------
KEYS = [
    "aws.s3.standard",
    "aws.s3.standard_ia",
    "aws.s3.glacier_ir",
    "aws.s3.glacier_flexible",
    "aws.s3.deep_archive",
    "cloudflare.r2.standard",
    "cloudflare.r2.ia",
    "backblaze.b2",
    "gcs.standard",
    "gcs.nearline",
    "gcs.coldline",
    "gcs.archive",
    "azure.blob.hot",
    "azure.blob.cool",
    "azure.blob.cold",
    "azure.blob.archive",
    "wasabi",
    "yandex.objectstorage.standard",
    "yandex.objectstorage.cold",
    "yandex.objectstorage.ice",
    "yandex.disk",
    "local",
    "catalog",
    "free",
]


def test_every_row_says_where_it_is_from() -> None:
    assert sorted(KEYS) == list(BOOK.rows)
    for key, row in BOOK.rows.items():
        assert row.source, key
        assert row.as_of or key in ("local", "catalog", "free", "yandex.disk"), key
        assert row.unsure or "general knowledge" not in row.source, key
    assert BOOK.rows["cloudflare.r2.standard"].storage == parse({"x": {"storage": 0.015}}).rows["x"].storage
    assert str(BOOK.rows["backblaze.b2"].storage[0].price) == "0.00695"  # type: ignore[index]


def test_rows_of_ones_own_replace_and_add(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(
        """
[prices."cloudflare.r2.standard"]
storage = 0.014
source = "our contract"
[prices."rack"]
disk = 0.004
copies = 2
fill = 0.8
as_of = "2026-11-01"
"""
    )
    book = parse(*price_rows(own))
    assert month_cost(book, "cloudflare.r2.standard", 100 * GB).total == Decimal("1.4")
    assert book.rows["cloudflare.r2.standard"].write is None  # the whole row is theirs
    assert month_cost(book, "rack", 100 * GB, writes=5, reads=5, egress=GB).total == Decimal("1")
    assert month_cost(book, "wasabi", 0).total == Decimal("7.99")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[prices.x]\nstorage = "cheap"', "x, storage is a number"),
        ("[prices.x]\nstorage = -1", "x, storage is a number"),
        ("[prices.x]\nwrite = true", "x, write is a number"),
        ("[prices.x]\nstorage = inf", "x, storage is a number"),
        ("[prices.x]\nprice = 1", "x has no price"),
        ("[prices.x]\nmin_days = 1.5", "min_days is a whole number"),
        ("[prices.x]\nunsure = 1", "unsure is true or false"),
        ("[prices.x]\nfree_gb = 'unknown'", "free_gb is a number from 0"),
        ("[prices.x]\nstorage = [{ price = 1 }, { price = 2 }]", "rising up_to"),
        (
            "[prices.x]\nstorage = [{ up_to = 2, price = 1 }, { up_to = 1, price = 1 }, { price = 2 }]",
            "rising",
        ),
        ("[prices.x]\nstorage = [{ up_to = 2 }]", "a tier is"),
        ("[prices.x]\nstorage = []", "rising up_to"),
        ("[prices.x]\ndisk = 1\nfill = 0", "fill is above 0"),
        ("prices.x = 1", "x is not a table"),
        ("prices = 1", "nothing but tables"),
        ("[price.x]\nstorage = 1", "nothing but tables"),
        ("[prices", "no TOML"),
    ],
)
def test_what_is_wrong_with_a_book_is_told(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(text)
    with pytest.raises(ConfigError, match=message):
        parse(*price_rows(own))
    with pytest.raises(ConfigError, match="cannot be read"):
        price_rows(tmp_path / "none.toml")


# -- a month ----------------------------------------------------------------------------------------------------------
def test_a_month_at_r2_with_allowances_and_rounding() -> None:
    found = month_cost(
        BOOK, "cloudflare.r2.standard", 100 * GB, writes=1_000_001, reads=12_500_000, egress=GB
    )
    assert amounts(found) == {
        "storage": Decimal("1.350"),
        "writes": Decimal("4.5"),  # one above the allowance is billed as a million
        "reads": Decimal("1.08"),
    }
    listed = month_cost(BOOK, "cloudflare.r2.standard", 100 * GB, billing=Billing.LIST)
    assert listed.total == Decimal("1.5")
    assert [(one.key, one.as_of, one.unsure) for one in listed.provenance] == [
        ("cloudflare.r2.standard", "2026", False)
    ]
    assert month_cost(BOOK, "cloudflare.r2.standard", 9 * GB).total == 0
    assert month_cost(BOOK, "cloudflare.r2.standard", 10 * GB + 1).total == Decimal("0.015")


def test_tiers_minima_and_units() -> None:
    assert month_cost(BOOK, "aws.s3.standard", 600_000 * GB).total == Decimal("13150")
    egress = month_cost(BOOK, "aws.s3.standard", 0, egress=10_100 * GB + 100 * GB)
    assert amounts(egress)["egress"] == Decimal("908.5")
    assert month_cost(BOOK, "gcs.standard", 1 << 30).total == Decimal("0.02")
    assert month_cost(BOOK, "wasabi", GB).total == Decimal("7.99")
    many_small = month_cost(BOOK, "aws.s3.standard_ia", 1000, objects=10**6)
    assert many_small.total == Decimal(131072 * 10**6) / GB * Decimal("0.0125")
    assert "131.072 GB are billed" in many_small.lines[0].note
    b2 = month_cost(BOOK, "backblaze.b2", 100 * GB, egress=350 * GB)
    assert amounts(b2)["egress"] == Decimal("0.5")
    assert month_cost(BOOK, "yandex.objectstorage.ice", 0, writes=10_001).total == Decimal("10010") * Decimal(
        "0.00001888"
    )


@pytest.mark.parametrize("key", ["", "no.such.key", "local"])
def test_what_is_not_known_is_never_nothing(key: str) -> None:
    for size in (0, 5 * GB):
        found = month_cost(BOOK, key, size)
        assert found.total is None
        assert found.known == 0
    assert money(month_cost(BOOK, key, GB).total) is None
    assert month_cost(BOOK, "free", 5 * GB, writes=9, egress=GB).total == 0


def test_a_price_that_is_partly_known() -> None:
    found = month_cost(BOOK, "azure.blob.cool", 100 * GB, writes=10)
    assert found.total is None
    assert found.known == Decimal("1.0")
    assert found.unsure
    assert month_cost(BOOK, "azure.blob.cool", 100 * GB).total == Decimal("1.0")
    disk = month_cost(BOOK, "yandex.disk", GB)
    assert disk.total is None  # the monthly fee
    assert month_cost(book_of(storage=0, fee=3), "it", GB).total == 3
    both = month_cost(BOOK, "free", GB) + month_cost(BOOK, "", GB)
    assert both.total is None


def test_months_of_several_keys() -> None:
    found = monthly(BOOK, {"free": Use(bytes=GB), "cloudflare.r2.standard": Use(bytes=20 * GB)})
    assert {key: estimate.total for key, estimate in found.items()} == {
        "free": 0,
        "cloudflare.r2.standard": Decimal("0.15"),
    }


def test_a_row_without_an_amount_is_not_known_and_says_what_to_do() -> None:
    unsaid = month_cost(BOOK, "catalog", GB)
    assert (unsaid.total, [source.known for source in unsaid.provenance]) == (None, [False])
    assert '[prices."catalog"]' in unsaid.notes[-1]
    said = month_cost(parse(*price_rows(None), {"catalog": {"storage": 0}}), "catalog", GB)
    assert (said.total, said.notes, said.provenance[0].known) == (0, (), True)


# -- moving -----------------------------------------------------------------------------------------------------------
def test_moving_reads_leaves_and_writes() -> None:
    found = move_cost(BOOK, "aws.s3.standard", "cloudflare.r2.standard", 1000, 100 * GB)
    assert amounts(found) == {"reads": Decimal("0.0004"), "egress": Decimal("9"), "writes": Decimal("0.0045")}
    assert [one.key for one in found.provenance] == ["aws.s3.standard", "cloudflare.r2.standard"]
    parts = move_cost(BOOK, "free", "cloudflare.r2.standard", 1, 100 * GB, writes=2000)
    assert parts.total == Decimal("0.009")


def test_moving_out_of_a_class_with_a_minimum() -> None:
    unsaid = move_cost(BOOK, "cloudflare.r2.ia", "free", 10, 100 * GB)
    assert unsaid.total == Decimal("1.000009")
    assert "up to 1 more" in unsaid.notes[0]
    said = move_cost(BOOK, "cloudflare.r2.ia", "free", 10, 100 * GB, days=15)
    assert said.total == Decimal("1.500009")
    assert move_cost(BOOK, "cloudflare.r2.ia", "free", 10, 100 * GB, days=30).notes == ()


@pytest.mark.parametrize(
    ("source", "target"), [("", "free"), ("free", ""), ("free", "yandex.objectstorage.cold")]
)
def test_moving_where_a_price_is_not_known(source: str, target: str) -> None:
    assert move_cost(BOOK, source, target, 10, GB).total is None


# -- comparing --------------------------------------------------------------------------------------------------------
def test_the_typical_comparison() -> None:
    found = compare(BOOK, TYPICAL_KEY, TYPICAL)
    assert [(row.portion.name, money(row.single), money(row.split)) for row in found.portions] == [
        ("training-datasets", "1.5", "1.5"),
        ("model-weights", "0.15", "0"),
        ("training-checkpoints", "0.75", "0"),
        ("config-schemas", "0.000015", "0"),
    ]
    assert f"{found.single.total:.2f} {found.split.total:.2f} {found.percent:.1f}" == "2.40 1.50 37.5"


def test_a_comparison_as_billed_shares_allowances_out() -> None:
    found = compare(BOOK, TYPICAL_KEY, TYPICAL, billing=Billing.BILLED)
    assert found.single.total == Decimal("2.265")  # 151 GB: the allowance once, rounded up once
    assert sum(row.single or 0 for row in found.portions) == found.single.total
    assert found.split.total == Decimal("1.35")


def test_a_comparison_with_an_unknown_price_saves_nothing_known() -> None:
    found = compare(
        BOOK, TYPICAL_KEY, [Portion("a", Use(bytes=GB), "local"), Portion("b", Use(bytes=GB), "free")]
    )
    assert found.saving is None
    assert found.percent is None
    assert [money(row.split) for row in found.portions] == [None, "0"]


# -- numbers ----------------------------------------------------------------------------------------------------------
def test_sizes_of_price_lists() -> None:
    assert [priced_size(text) for text in ("100GB", "1.5 TB", "1GiB", "7", "2kb")] == [
        100 * GB,
        1_500_000_000_000,
        1 << 30,
        7,
        2000,
    ]
    for wrong in ("", "x", "-1GB", "1XB", "9" * 50):
        with pytest.raises(InvalidRequestError):
            priced_size(wrong)


@given(some.decimals(0, 10**9, places=6), some.lists(some.integers(0, 10**15), min_size=1, max_size=30))
def test_shares_are_the_amount_again(amount: Decimal, weights: list[int]) -> None:
    parts = shares(amount, weights)
    assert sum(part or 0 for part in parts) == amount
    assert all(part is not None and part >= 0 for part in parts)


@given(some.integers(0, 10**18), some.integers(0, 10**18), some.sampled_from(KEYS))
def test_more_never_costs_less(less: int, more: int, key: str) -> None:
    less, more = sorted((less, more))
    first, second = month_cost(BOOK, key, less).total, month_cost(BOOK, key, more).total
    assert (first is None) == (second is None)
    assert first is None or second is None or first <= second


@given(some.integers(0, 10**6))
def test_tiers_are_the_sum_of_their_stretches(quantity: int) -> None:
    tiers = BOOK.rows["aws.s3.standard"].storage
    assert tiers is not None
    stretches = [
        max(0, min(quantity, 50_000)),
        max(0, min(quantity, 500_000) - 50_000),
        max(0, quantity - 500_000),
    ]
    prices = (Decimal("0.023"), Decimal("0.022"), Decimal("0.021"))
    assert tiered(tiers, Decimal(quantity)) == sum(
        Decimal(part) * price for part, price in zip(stretches, prices, strict=True)
    )
