"""A `holdfast.toml` in the making: settings, comments beside them, secrets apart, and what was left behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NOT_FILE: Final = re.compile(r"[^A-Za-z0-9_-]")
_WIDTH: Final = 110


@dataclass(slots=True)
class Imported:
    """What an older configuration means here. `source` says what was read."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  #: dotted name → comments above it
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  #: dotted name → the secret
    apart: dict[str, str] = field(
        default_factory=dict, repr=False
    )  #: secrets that only comments name, as yet
    left: list[tuple[str, str]] = field(
        default_factory=list
    )  #: (line of the old one, why it is not carried over)

    def put(self, name: str, value: Any, note: str = "") -> None:
        """Set the setting with that dotted name."""
        *above, last = name.split(".")
        place = self.values
        for step in above:
            place = place.setdefault(step, {})
        place[last] = value
        if note:
            self.note(name, note)

    def note(self, name: str, text: str) -> None:
        """Say something above a setting or a table."""
        self.notes.setdefault(name, []).append(text)

    def leave(self, line: str, why: str) -> None:
        """Say that a line of the old configuration has no counterpart."""
        self.left.append((line, why))

    def hide(self, name: str, secret: str) -> str:
        """Keep a secret that only a comment names, and return the name that it has; no two have the same file."""
        taken = {file_of(other) for other in self.secrets}
        taken |= {file_of(other) for other, held in self.apart.items() if (other, held) != (name, secret)}
        free, number = name, 1
        while file_of(free) in taken:
            number += 1
            free = f"{name}_{number}"
        self.apart[free] = secret
        return free

    def text(self, *, files: Mapping[str, str] | None = None, with_secrets: bool = False) -> str:
        """Return the TOML.

        Args:
            files: secret → path of the file that holds it; those not named are left to variables.
            with_secrets: write the secrets themselves.
        """
        lines = [f"# Made from {self.source} by `holdfast config import`."]
        lines += [f"# {text}".rstrip() for text in self.notes.get("", ())]
        if self.left:
            lines += ["#", "# Not carried over:"]
            for line, why in self.left:
                lines += _wrapped(f"{line}: {why}", "#   ")
        written = _merged(self.values, self._held(files or {}, with_secrets))
        lines += _table("", written, self.notes)
        return "\n".join(lines).rstrip() + "\n"

    def _held(self, files: Mapping[str, str], with_secrets: bool) -> dict[str, Any]:
        """Return the settings that stand for the secrets, and note what has to be done about the others."""
        held: dict[str, Any] = {}
        for name, secret in self.secrets.items():
            if with_secrets:
                _set(held, name, secret)
            elif name in files:
                _set(held, f"{name}_file", files[name])
            else:
                where = name.rpartition(".")[0]
                said = f"{name.rpartition('.')[2]}: set the variable {variable_of(name)}"
                if said not in self.notes.get(where, ()):
                    self.note(where, said)
        return held


def file_of(name: str) -> str:
    """Return the file, below the folder of the configuration, that holds the secret with that dotted name."""
    return f"secrets/{_NOT_FILE.sub('_', name)[:200]}"


def variable_of(name: str) -> str:
    """Return the variable that gives the setting with that dotted name."""
    return "HOLDFAST_" + name.upper().replace(".", "__")


def _table(name: str, values: Mapping[str, Any], notes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: its own settings, then the tables in it."""
    plain = {
        key: value for key, value in values.items() if not isinstance(value, Mapping) and not _tables(value)
    }
    if name and (plain or notes.get(name) or not values):
        yield ""
        yield from _comments(name, notes)
        yield f"[{name}]"
    elif plain:
        yield ""
    for key, value in plain.items():
        yield from _comments(f"{name}.{key}" if name else key, notes)
        yield f"{_key(key)} = {_value(value)}"
    for key, value in values.items():
        full = f"{name}.{_key(key)}" if name else _key(key)
        if isinstance(value, Mapping):
            yield from _table(full, value, notes)
        elif _tables(value):
            for item in value:
                yield ""
                yield from _comments(f"{full}.{item.get('name', '')}", notes)
                yield f"[[{full}]]"
                yield from (f"{_key(inner)} = {_value(one)}" for inner, one in item.items())


def _comments(name: str, notes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for text in notes.get(name, ()):
        for line in text.splitlines():
            yield from _wrapped(line, "# ")


def _wrapped(text: str, start: str) -> list[str]:
    """Return `text` as comment lines; what a comment cannot hold is shown as an escape."""
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    lines, line = [], start
    for word in safe.split(" "):
        if len(line) + len(word) > _WIDTH and line.strip("# "):
            lines.append(line.rstrip())
            line = start
        line += word + " "
    return [*lines, line.rstrip()]


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return _string(str(value))


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *above, last = name.split(".")
    for step in above:
        values = values.setdefault(step, {})
    values[last] = value


def _merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    for name, value in more.items():
        held = found.get(name)
        found[name] = (
            _merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
        )
    return found
