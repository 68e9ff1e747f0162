"""What-if, savings and advice: the sums, what is unknown, and the price of being wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest

from holdfast.core.errors import InvalidRequestError
from holdfast.core.ledger import Daily, Entry, Holding
from holdfast.policy.advice import Groups, Place, advise, sizes_of
from holdfast.policy.cost import Billing, Use
from holdfast.policy.prices import PriceBook, parse
from holdfast.policy.savings import savings
from holdfast.policy.usage import average, month_of, scaled, used
from holdfast.policy.whatif import what_if

pytestmark = pytest.mark.unit
GB = 10**9
HOT = {"storage": "0.023", "write": "0.005", "read": "0.0004", "egress": "0.09"}
COLD = {"storage": "0.004", "write": "0.05", "read": "0.0004", "egress": "0.09", "retrieval": "0.03"}
BOOK: PriceBook = parse(
    {
        "aws.hot": HOT,
        "aws.cold": {**COLD, "min_days": 90, "min_size": 128 * 1024},
        "far": {**HOT, "storage": "0.001"},
        "r2": {"storage": "0.015", "write": "0.0045", "read": "0.00036", "egress": 0},
        "free": {"storage": 0, "write": 0, "read": 0, "egress": 0},
        "dark": {"storage": "unknown"},
    }
)


def entry(store: str, verb: str, calls: int, received: int = 0) -> Entry:
    return Entry(store, verb, calls, 0, 0, received)


def test_lists_and_copies_are_writes_and_deletes_are_free() -> None:
    entries = [entry("s", verb, 10, 5) for verb in ("write", "read", "list", "delete", "copy")]
    assert used(entries) == Use(writes=30, reads=10, egress=25, retrieved=25)


def test_days_are_scaled_to_a_month_and_rounded_up() -> None:
    assert scaled(Use(writes=1, reads=7), 30, 7) == Use(writes=5, reads=30)
    assert average([Holding("s", 1, 10, 1), Holding("s", 2, 20, 2)]) == Use(bytes=15, objects=1)
    assert average([]) == Use()
    assert [month_of(day) for day in (0, 30, 31, 20_777)] == ["1970-01", "1970-01", "1970-02", "2026-11"]


def test_the_dual_storage_sample_saves_what_its_document_says() -> None:
    uses = {
        "datasets": Use(bytes=100 * GB),
        "weights": Use(bytes=10 * GB),
        "checkpoints": Use(bytes=50 * GB),
    }
    keys = dict.fromkeys(uses, "r2")
    found = what_if(BOOK, uses, keys, {"weights": "free", "checkpoints": "free"}, billing=Billing.LIST)
    assert (found.before.total, found.after.total) == (Decimal("2.40"), Decimal("1.50"))
    assert found.saving == Decimal("0.90")
    assert f"{found.percent:.1f}" == "37.5"
    assert found.once.total == 0
    assert found.months == 0


def test_a_move_that_costs_more_never_pays_for_itself() -> None:
    uses = {"films": Use(bytes=1000 * GB, objects=1000, reads=100_000, egress=1000 * GB)}
    found = what_if(BOOK, uses, {"films": "r2"}, {"films": "aws.hot"})
    assert found.saving is not None
    assert found.saving < 0
    assert found.months is None
    back = what_if(BOOK, uses, {"films": "aws.hot"}, {"films": "r2"})
    assert back.once.total is not None
    assert back.saving is not None
    assert back.months == back.once.total / back.saving
    assert back.once.total > 90  # a thousand GB leave at 0.09


def test_what_is_not_known_makes_the_answer_unknown() -> None:
    found = what_if(BOOK, {"x": Use(bytes=GB)}, {"x": "dark"}, {"x": "r2"})
    assert (found.before.total, found.saving, found.percent, found.months) == (None, None, None, None)
    assert found.after.total == Decimal("0.015")
    with pytest.raises(InvalidRequestError, match="nothing is known of a store 'y'"):
        what_if(BOOK, {"x": Use()}, {}, {"y": "r2"})
    with pytest.raises(InvalidRequestError, match="no row 'gold'"):
        what_if(BOOK, {"x": Use()}, {}, {"x": "gold"})


def test_savings_are_counted_by_the_day() -> None:
    first = 20_758  # 2026-11-01
    held = [Holding("near", first + day, 60 * GB, 60) for day in range(30)]
    held += [Holding("away", first + day, 100 * GB, 10) for day in range(30)]
    held += [Holding("away", first + 30, 30 * GB, 10)]
    calls = [
        Daily(first, entry("near", "read", 1000, 10 * GB)),
        Daily(first - 5, entry("near", "read", 10**9)),
    ]
    found = savings(BOOK, "aws.hot", {"near": "free", "away": "r2"}, calls, held)
    november, december = found.months
    assert (november.month, november.days, december.days) == ("2026-11", 30, 1)
    assert november.paid == Decimal("1.5")
    # 160 GB a month, and what was read would have left: the day without a measurement is left out
    single = 160 * Decimal("0.023") + Decimal("0.0004") + 10 * Decimal("0.09")
    assert november.single is not None
    assert abs(november.single - single) < Decimal("1e-20")
    assert december.paid == Decimal("0.015")
    assert found.total == sum((month.saving or 0 for month in found.months), Decimal(0))
    assert savings(BOOK, "aws.hot", {"away": "dark"}, [], held[:1]).total is None


PLACES = {
    "hot": Place("hot", "aws.hot", "eu"),
    "cold": Place("cold", "aws.cold", "eu", supposed=True),
    "far": Place("far", "far"),
}


def groups(count: int, idle: int, size: int, reads: int = 0) -> Groups:
    made = Groups(sizes_of(BOOK, PLACES.values()))
    for _ in range(count):
        made.add("t/b", "hot", idle, size, reads)
    return made


def test_idle_objects_go_where_they_gain_the_most_and_being_wrong_has_a_price() -> None:
    near = {name: PLACES[name] for name in ("hot", "cold")}
    (one,) = advise(groups(10, 200, GB), BOOK, near)
    assert (one.bucket, one.store, one.target, one.supposed, one.idle) == ("t/b", "hot", "cold", True, 180)
    assert (one.objects, one.bytes) == (10, 10 * GB)
    # ten GB for a year: 0.019 less a month; the way there is ten requests each way, and no egress inside one provider
    assert abs(one.monthly - Decimal("0.19")) < Decimal("0.0001")
    assert Decimal("2.30") < one.gain < Decimal("2.32")
    # read once: 0.03 a GB of retrieval
    assert abs(one.read_once - Decimal("0.30")) < Decimal("0.001")
    assert one.reads_to_loss is not None
    assert 7.6 < one.reads_to_loss < 7.8
    # removed the day after: three months there are paid all the same
    assert Decimal("0.10") < one.removed < Decimal("0.13")
    assert not one.counted


def test_egress_between_providers_is_weighed() -> None:
    away = {name: PLACES[name] for name in ("hot", "far")}
    (one,) = advise(groups(1, 40, GB), BOOK, away)
    assert one.target == "far"
    assert Decimal("0.17") < one.gain < Decimal("0.18")  # 0.022 × 12.17 - 0.09
    assert one.reads_to_loss is None  # reading costs the same there
    assert advise(groups(1, 40, GB), BOOK, away, horizon=90) == []


def test_small_busy_and_read_objects_stay() -> None:
    near = {name: PLACES[name] for name in ("hot", "cold")}
    assert advise(groups(1000, 100, 1000), BOOK, near) == []
    busy = groups(10, 29, GB)
    assert (busy.busy, advise(busy, BOOK, near)) == (10, [])
    assert advise(groups(10, 100, GB, reads=30), BOOK, near) == []


def test_a_price_that_is_not_known_advises_nothing() -> None:
    assert advise(groups(1, 400, GB), BOOK, {"hot": PLACES["hot"], "dark": Place("dark", "dark")}) == []
    assert advise(groups(1, 400, GB), BOOK, {"cold": PLACES["cold"]}) == []
