"""Files that somebody else wrote: whatever is wrong with them is told, also that they are nested too deeply."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.placement_files import read_rules, read_wanted
from holdfast.config.importing import import_file
from holdfast.config.settings import read_toml
from holdfast.core.errors import ConfigError
from holdfast.core.parsing import parse_json, parse_toml

pytestmark = pytest.mark.unit
DEEP_LIST = "[" * 100_000
DEEP = '{"content_types":' * 50_000
DEEP_TOML = "rules = " + DEEP_LIST


def test_what_is_well_formed_is_read() -> None:
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    assert parse_toml("a = 1.5", parse_float=str) == {"a": "1.5"}


@pytest.mark.parametrize("text", [DEEP_LIST, DEEP, "{", ""])
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
        parse_json(text)


@pytest.mark.parametrize("text", [DEEP_TOML, "a ="])
def test_toml_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Invalid"):
        parse_toml(text)


def test_files_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    as_json, as_toml = tmp_path / "old.json", tmp_path / "rules.toml"
    as_json.write_text(DEEP)
    as_toml.write_text(DEEP_TOML)
    told = "nested too deeply"
    with pytest.raises(ConfigError, match=told):
        import_file(as_json, {})
    with pytest.raises(ConfigError, match=told):
        read_wanted(as_json, {})
    for read in (read_rules, read_toml):
        with pytest.raises(ConfigError, match=told):
            read(as_toml)
    as_json.write_text(json.dumps({"content_types": {}}))
    assert import_file(as_json, {}) is not None
