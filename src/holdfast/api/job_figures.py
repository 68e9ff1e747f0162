"""Figures of jobs: how many there are in which state, and what steps in this process did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from holdfast.core.jobs import JobState
from holdfast.engine.activity import Activity


def items_of(activity: Activity) -> Iterator[Metric]:
    """Yield how many items steps of jobs have done, left alone as they were, and failed at."""
    family = CounterMetricFamily(
        "holdfast_job_items", "Items that jobs dealt with in this process", labels=["kind", "outcome"]
    )
    for (kind, outcome), count in sorted(activity.job_items.items()):
        family.add_metric([kind, outcome], count)
    yield family


def states_of(found: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    """Yield how many jobs are in which state; those that ended are forgotten after 30 days."""
    family = GaugeMetricFamily("holdfast_jobs", "Jobs by state", labels=["state"])
    for state in JobState:
        count = sum(number for (_, held), number in found.items() if held == state.value)
        family.add_metric([state.value], count)
    yield family
