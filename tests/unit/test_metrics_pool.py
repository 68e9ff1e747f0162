"""Figures of several processes: added up, and never going back when one of them dies."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from holdfast.api.metrics import text_of
from holdfast.api.pool import Family, Pool, families_of

pytestmark = pytest.mark.unit


class Process:
    """One process with figures of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.registry = CollectorRegistry()
        self.count = Counter("done", "Things done", ["kind"], registry=self.registry)
        self.now = Gauge("now", "Things under way", registry=self.registry)
        self.start = Gauge("process_start_time_seconds", "Start", registry=self.registry)
        self.time = Histogram("took_seconds", "Time", registry=self.registry, buckets=(1, 10))
        self.pool = Pool(directory, name)

    def scrape(self) -> dict[str, float]:
        """All samples by name and labels, as a reader of the page finds them."""
        text = text_of(self.pool.exchange(families_of(self.registry.collect())))
        return {
            sample.name + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): (
                sample.value
            )
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }


def test_counters_are_added_and_gauges_are_of_the_living(tmp_path: Path) -> None:
    one, two = Process(tmp_path, "1"), Process(tmp_path, "2")
    one.count.labels("a").inc(3)
    two.count.labels("a").inc(4)
    two.count.labels("b").inc(1)
    one.now.set(5)
    two.now.set(6)
    one.start.set(100)
    two.start.set(90)
    one.time.observe(0.5)
    two.time.observe(5)
    one.scrape()
    for found in (two.scrape(), one.scrape()):
        assert found["done_total{kind=a}"] == 7
        assert found["done_total{kind=b}"] == 1
        assert found["now"] == 11
        assert found["process_start_time_seconds"] == 90
        assert found["took_seconds_bucket{le=1.0}"] == 1
        assert found["took_seconds_bucket{le=+Inf}"] == 2
        assert found["took_seconds_count"] == 2
        assert not [name for name in found if "created" in name]
    two.pool.close()  # what a killed process leaves: its files, without the lock
    three = Process(tmp_path, "3")
    three.count.labels("a").inc(1)
    for _ in range(3):
        found = three.scrape()
        assert found["done_total{kind=a}"] == 8
        assert found["now"] == 5
        assert found["took_seconds_count"] == 2
    assert not list(tmp_path.glob("2.*"))
    one.pool.close()
    found = three.scrape()
    assert found["done_total{kind=a}"] == 8
    assert found["now"] == 0


def test_a_death_while_the_dead_are_added_counts_nothing_twice(tmp_path: Path) -> None:
    dead, alive = Process(tmp_path, "dead"), Process(tmp_path, "alive")
    dead.count.labels("a").inc(7)
    dead.scrape()
    dead.pool.close()
    files = {path.name: path.read_bytes() for path in tmp_path.glob("dead.*")}
    assert alive.scrape()["done_total{kind=a}"] == 7
    for name, content in files.items():  # as if it had died before it removed them
        (tmp_path / name).write_bytes(content)
    assert alive.scrape()["done_total{kind=a}"] == 7
    assert not list(tmp_path.glob("dead.*"))
    assert alive.scrape()["done_total{kind=a}"] == 7


def test_one_that_died_before_it_wrote_leaves_nothing(tmp_path: Path) -> None:
    Pool(tmp_path, "early").close()
    alive = Process(tmp_path, "alive")
    alive.count.labels("a").inc()
    assert alive.scrape()["done_total{kind=a}"] == 1


def test_what_was_written_last_counts_without_a_scrape(tmp_path: Path) -> None:
    quiet, asked = Process(tmp_path, "quiet"), Process(tmp_path, "asked")
    quiet.pool.write([Family("done", "counter", "Things done", [("done_total", (("kind", "a"),), 2.0)])])
    asked.count.labels("a").inc()
    assert asked.scrape()["done_total{kind=a}"] == 3
