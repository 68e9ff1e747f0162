"""The part of Drive's query language that storage needs: `q` of `files.list`.

`'ID' in parents`, `name =`, `name contains`, `mimeType =` and `!=`, `trashed =`, `appProperties has {key='…' and
value='…'}`, joined with `and`, `or`, `not` and parentheses. Names are compared without case, as Drive does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from holdfast.testing.fakes.google_drive.state import Item

Test = Callable[[Item], bool]
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z]+)|(?P<sign>!=|=|\(|\)|\{|\}))", re.DOTALL
)


class QueryError(ValueError):
    """Google would answer 400."""


def parse(text: str) -> Test:
    """Return what tells whether an item fits; `QueryError` for what is no query."""
    reader = _Reader(_tokens(text))
    test = reader.either()
    if reader.left:
        raise QueryError(f"unexpected {reader.left[0]!r}")
    return test


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise QueryError(f"cannot read the query at {at}")
        found.append(match.group().strip())
        at = match.end()
    return found


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.left = tokens

    def either(self) -> Test:
        tests = [self._both()]
        while self._accept("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda item: any(test(item) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._accept("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda item: all(test(item) for test in tests)

    def _one(self) -> Test:
        if self._accept("not"):
            test = self._one()
            return lambda item: not test(item)
        if self._accept("("):
            test = self.either()
            self._need(")")
            return test
        if self.left and self.left[0].startswith("'"):
            parent = self._text()
            self._need("in")
            self._need("parents")
            return lambda item: parent in item.parents
        return self._field(self._next())

    def _field(self, name: str) -> Test:
        if name == "trashed":
            self._need("=")
            wanted = self._next()
            if wanted not in ("true", "false"):
                raise QueryError("trashed is true or false")
            return lambda item: item.is_trashed == (wanted == "true")
        if name == "name":
            sign, text = self._next(), ""
            text = self._text().casefold()
            if sign == "=":
                return lambda item: item.name.casefold() == text
            if sign == "contains":
                return lambda item: any(word.startswith(text) for word in _words(item.name))
        if name == "mimeType":
            sign, text = self._next(), self._text()
            if sign in ("=", "!="):
                return lambda item: (item.mime_type == text) == (sign == "=")
        if name == "appProperties":
            for expected in ("has", "{", "key", "="):
                self._need(expected)
            key = self._text()
            for expected in ("and", "value", "="):
                self._need(expected)
            value = self._text()
            self._need("}")
            return lambda item: item.app_properties.get(key) == value
        raise QueryError(f"{name!r} cannot be asked for")

    def _next(self) -> str:
        if not self.left:
            raise QueryError("the query ends early")
        return self.left.pop(0)

    def _accept(self, token: str) -> bool:
        if self.left and self.left[0] == token:
            self.left.pop(0)
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._accept(token):
            raise QueryError(f"{token!r} was expected")

    def _text(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise QueryError(f"a text was expected, not {token!r}")
        return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


def _words(name: str) -> list[str]:
    """Return the beginnings that `contains` finds: of the name and of each word in it."""
    folded = name.casefold()
    return [folded, *re.split(r"[^\w]+", folded)]
