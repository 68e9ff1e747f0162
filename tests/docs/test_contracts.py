"""The page of contracts can be made, and could not be if a line of it were not true."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from holdfast.config.legacy import VARIABLES

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def contracts() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "contracts.py"
    spec = importlib.util.spec_from_file_location("contracts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_is_true(contracts: ModuleType) -> None:
    page = contracts.page()
    assert page.count("*not yet*") == 3
    assert "| `POST /api/v1/files/upload` |" in page
    assert "| `RETENTION_DAYS` |" in page


def test_every_variable_that_is_understood_is_listed(contracts: ModuleType) -> None:
    listed = {name for contract in contracts.contracts() for name, *_ in contract.get("variables", ())}
    assert set(VARIABLES) <= listed


@pytest.mark.parametrize(
    ("kind", "name", "test", "said"),
    [
        ("calls", "GET /health", "doors/test_rest_figures.py::test_no_such", "there is no test"),
        ("calls", "GET /health", "doors/test_none.py::test_no_such", "there is no test"),
        ("calls", "GET /health", "", "served but no test proves it"),
        ("calls", "GET /wealth", "doors/test_rest_figures.py::test_health_in_detail", "not served"),
        ("calls", "DELETE /health", "doors/test_rest_figures.py::test_health_in_detail", "not served"),
        (
            "methods",
            "StorageManager.get_adapter(kind)",
            "doors/test_rest_figures.py::test_health_in_detail",
            "not served",
        ),
        ("methods", "StorageManager.get_adapter(content_type)", "", "served but no test proves it"),
        ("variables", "PROT", "doors/test_rest_figures.py::test_health_in_detail", "not served"),
    ],
)
def test_a_line_that_is_not_true_is_found(
    contracts: ModuleType, kind: str, name: str, test: str, said: str
) -> None:
    with pytest.raises(contracts.ContractError, match=said):
        contracts.check(kind, name, test)
