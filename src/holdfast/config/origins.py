"""Where each setting came from: for `holdfast config show`, and so that an error names what was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from holdfast.config.secrets import SECRETS, STORE_SECRETS
from holdfast.core.errors import ConfigError

PREFIX: Final = "HOLDFAST_"
#: Variables that are not settings: of clients and containers, and of development.
OTHERS: Final = frozenset(
    {
        *("CONFIG", "SERVER", "TOKEN", "TOKEN_FILE", "COMPLETE", "PUBLISH"),
        *("FAILPOINT", "MINIO", "PYTHON", "TUS_RUNS", "VERSITYGW"),
    }
)
_TESTS: Final = "TEST_"


@dataclass(frozen=True, slots=True)
class Origins:
    """The sources, the strongest first."""

    flags: frozenset[str] = frozenset()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    legacy: Mapping[str, str] = field(default_factory=dict)  #: setting → variable
    file: Path | None = None
    in_file: frozenset[str] = frozenset()  #: dotted names that the file sets

    def of(self, name: str) -> str:
        """Return `flag`, a variable's name, the file's name or `default` for a dotted setting."""
        if name in self.flags:
            return "flag"
        if found := self._variable(name):
            return found
        if name in self.legacy:
            return self.legacy[name]
        if name in self.in_file or f"{name}_file" in self.in_file:
            return str(self.file)
        return "default"

    def say(self, name: str) -> str:
        """Return how to name the setting in an error: by its variable where that gave it."""
        origin = self.of(name)
        if origin == "default" and (below := self._below(name)):
            return f"{below} ({name})"
        if origin == "default" or origin == "flag":
            return name
        if origin == str(self.file):
            return f"{name} in {origin}"
        return f"{origin} ({name})"

    def _below(self, name: str) -> str:
        """Return the variables that set parts of a table, for an error of the whole of it."""
        start = f"{PREFIX}{name.upper().replace('.', '__')}__"
        return ", ".join(
            sorted(key for key, value in self.environ.items() if value and key.upper().startswith(start))
        )

    def _variable(self, name: str) -> str:
        set_ = {variable.upper() for variable, value in self.environ.items() if value}
        whole = PREFIX + name.upper().replace(".", "__")
        last = name.rpartition(".")[2]
        if whole in set_:
            return whole
        if last in SECRETS | STORE_SECRETS and f"{whole}_FILE" in set_:
            return f"{whole}_FILE"
        above = name
        while "." in above:  # a table given as JSON in one variable
            above = above.rpartition(".")[0]
            if (variable := PREFIX + above.upper().replace(".", "__")) in set_:
                return variable
        return ""


def check_variables(environ: Mapping[str, str], settings: Iterable[str]) -> None:
    """Refuse `HOLDFAST_*` variables that mean nothing here: a mistyped one would be ignored in silence.

    Raises:
        ConfigError: naming each, and the known one that is nearest.
    """
    known = {PREFIX + name.upper() for name in settings}
    files = {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    wrong = []
    for name, value in environ.items():
        upper = name.upper()
        rest = upper.removeprefix(PREFIX)
        if rest == upper or not value or rest in OTHERS or rest.startswith(_TESTS):
            continue
        head, _, below = upper.partition("__")
        if head not in known and (below or upper not in files):
            others = {PREFIX + other for other in OTHERS}
            wrong.append(f"the variable {name} is unknown{nearest(head, known | files | others)}")
    if wrong:
        raise ConfigError("; ".join(sorted(wrong)))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the known name most like `name`, or nothing."""
    found = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def dotted(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting in nested tables."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"
