"""Files with placement rules: TOML or JSON, as they are in a configuration file or as REST takes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.parsing import parse_json

if TYPE_CHECKING:
    from holdfast.engine.ruling import Wanted
    from holdfast.policy.placement import Rule

_TOP = ("rules", "stores", "acknowledge", "when_down", "fallback", "inline", "encrypt")


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a file: `[[rules]]`, `[[placement.rules]]`, `[[apply.rules]]`, or a JSON list.

    Raises:
        InvalidRequestError: it has none, or one cannot be a rule. ConfigError: it cannot be read.
    """
    from holdfast.policy.rule_form import rules_of

    found = _placement(path).get("rules")
    if not isinstance(found, list):
        raise InvalidRequestError(f"{path} has no rules; write each as a table [[rules]]")
    return rules_of(found)


def read_one(path: Path) -> Rule:
    """Return the one rule of a file: `[[rules]]` once, or its members at the top."""
    from holdfast.policy.rule_form import rule_of

    values = _values(path)
    if isinstance(values, Mapping) and "name" in values:
        return rule_of(values)
    rules = read_rules(path)
    if len(rules) != 1:
        raise InvalidRequestError(f"{path} has {len(rules)} rules; name one, or use `rules set` for all")
    return rules[0]


def read_wanted(path: Path, stores: Mapping[str, str]) -> Wanted:
    """Return the placement that a file supposes: rules, and where it says so the default and the threshold."""
    from holdfast.core.sizes import parse_size
    from holdfast.engine.ruling import Wanted
    from holdfast.policy.rule_form import DEFAULT, rule_of, rules_of

    said = _placement(path)
    if unknown := sorted(set(said) - set(_TOP)):
        raise InvalidRequestError(f"{path}: {unknown[0]!r} is unknown; there are {', '.join(_TOP)}")
    inline = said.get("inline")
    try:
        inline = parse_size(inline) if isinstance(inline, str) else inline
    except ValueError as error:
        raise InvalidRequestError(f"{path}: inline: {error}") from None
    usual = {
        name: said[name]
        for name in ("stores", "acknowledge", "when_down", "fallback", "encrypt")
        if name in said
    }
    if usual and "stores" not in usual:
        raise InvalidRequestError(f"{path}: a default of its own names its stores")
    rules = said.get("rules")
    if rules is not None and not isinstance(rules, list):
        raise InvalidRequestError(f"{path}: rules is a list of tables [[rules]]")
    return Wanted(
        rules=None if rules is None else rules_of(rules),
        default=rule_of({"name": DEFAULT, **usual}) if usual else None,
        inline=inline,
        stores=stores,
    )


def _placement(path: Path) -> Mapping[str, Any]:
    """Return the table of placement in a file, wherever it is."""
    values = _values(path)
    if isinstance(values, list):
        return {"rules": values}
    assert isinstance(values, dict)
    for name in ("placement", "apply"):
        inner = values.get(name)
        if isinstance(inner, Mapping) and "rules" in inner:
            return inner if name == "placement" else {"rules": inner["rules"]}
    return values


def _values(path: Path) -> Any:
    from holdfast.config.settings import read_toml

    if path.suffix.lower() != ".json":
        return read_toml(path)
    try:
        values = parse_json(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, (dict, list)):
        raise ConfigError(f"{path} holds neither an object nor a list")
    return values
