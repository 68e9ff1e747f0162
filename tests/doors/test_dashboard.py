"""The dashboard and the alert rules ask only for series, and labels of them, that a running service shows."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.doors.cli_tools import serving

pytestmark = pytest.mark.doors
DEPLOY = Path(__file__).parents[2] / "deploy"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_WORDS = {
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
}
#: Labels that Prometheus adds to every series.
_ADDED = {"job", "instance"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str] | None]:
    """Every series of a service that has been used, with its labels; None where it has no sample yet."""
    folder = tmp_path_factory.mktemp("dashboard")
    with serving(folder / "data", "--dev") as server:

        def ask(method: str, path: str, body: bytes | None = None) -> bytes:
            with _DIRECT.open(urllib.request.Request(server.url + path, body, method=method)) as answer:
                return bytes(answer.read())

        ask("POST", "/api/v1/buckets", b'{"name": "watched", "max_bytes": 100000, "max_objects": 9}')
        ask("PUT", "/api/v1/objects/watched/k", b"x" * 70_000)
        ask("GET", "/api/v1/objects/watched/k")
        text = ask("GET", "/metrics").decode()
    found: dict[str, set[str] | None] = {}
    for family in text_string_to_metric_families(text):
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        for ending in endings:
            found[family.name + ending] = None
        for sample in family.samples:
            found[sample.name] = (found.get(sample.name) or set()) | set(sample.labels)
    return found


def _expressions() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((DEPLOY / "grafana" / "holdfast.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", "")):
            yield variable["name"], f"sum by ({match[2]}) ({match[1]})"
    for rule in _rules():
        yield rule["alert"], rule["expr"]


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def series_of(expression: str) -> list[tuple[str, set[str]]]:
    """Return the series that an expression names, each with the labels that its matchers ask for."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    plain = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", plain)
    plain = re.sub(r"\[[^\]]*\]", " ", plain)
    found = []
    for match in re.finditer(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(\s*\()?", plain):
        name, matchers, call = match.groups()
        if call or name in _WORDS:
            continue
        found.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers or ""))))
    return found


def grouped_by(expression: str) -> set[str]:
    """Return the labels that an expression groups by."""
    return {
        label.strip()
        for labels in re.findall(r"\bby\s*\(([^)]*)\)", expression)
        for label in labels.split(",")
        if label.strip()
    }


def test_expressions_are_read_as_they_are_meant() -> None:
    found = series_of('sum by (le, job) (rate(a_bucket{x="by (y)", z=~"1"}[5m])) / on (q) b > 0.5 and c')
    assert found == [("a_bucket", {"x", "z"}), ("b", set()), ("c", set())]
    assert grouped_by("sum by (le, job) (a)") == {"le", "job"}


def test_every_series_exists_with_its_labels(shown: dict[str, set[str] | None]) -> None:
    count = 0
    for title, expression in _expressions():
        named = series_of(expression)
        assert named, title
        for name, labels in named:
            assert name in shown, f"{title}: there is no series {name}"
            known = shown[name]
            wanted = (labels | (grouped_by(expression) if len(named) == 1 else set())) - _ADDED
            assert known is None or wanted <= known, f"{title}: {name} has no label {wanted - known}"
            count += 1
    assert count > 50


def test_the_series_of_the_contract_are_on_the_dashboard() -> None:
    text = " ".join(expression for _, expression in _expressions())
    for name in (
        "storage_uploads_total",
        "storage_downloads_total",
        "storage_usage_bytes",
        "storage_operation_seconds",
    ):
        assert name in text


def test_the_dashboard_is_one_that_grafana_can_load() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "holdfast.json").read_text())
    assert (dashboard["uid"], dashboard["schemaVersion"]) == ("holdfast", 39)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert all(0 <= x < 24 for x, _ in cells)
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]


def test_alerts_say_what_is_wrong() -> None:
    names = [rule["alert"] for rule in _rules()]
    assert len(names) == len(set(names))
    for rule in _rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert scrape["rule_files"] == ["alerts.yml"]
    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics"
