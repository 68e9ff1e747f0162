"""From a path to its handler. Paths are matched as they came and decoded exactly once, piece by piece."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange, decode_once

Handler = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter in the query or a header, for the description of the door."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One verb on one kind of path.

    `path` is a template: `{name}` takes one piece, `{name...}` takes all that is left, slashes included, also when
    that is empty. `body` and `answers` describe what travels: a model, `bytes`, "form", or None.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    params: Sequence[Param] = ()
    body: Any = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    open: bool = False  #: needs no token
    public: bool = False  #: needs no token for objects of public buckets


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self._exact: dict[bytes, dict[str, Route]] = {}
        self._tails: list[tuple[bytes, dict[str, Route]]] = []  # {bucket}/{key...}: by prefix, the hot ones
        self._patterns: list[tuple[re.Pattern[bytes], dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            self._add(path, methods)

    def find(self, exchange: Exchange) -> tuple[Route, list[str]]:
        """Return the route and the decoded pieces of the path.

        Raises:
            HttpRefusalError: 404, or 405 with the methods that are allowed.
            InvalidRequestError: a piece is not UTF-8.
        """
        raw = exchange.raw_path
        for prefix, methods in self._tails:
            if raw.startswith(prefix):
                bucket, slash, key = raw[len(prefix) :].partition(b"/")
                if slash:
                    return _found(
                        methods, exchange, [decode_once(bucket, "the path"), decode_once(key, "the key")]
                    )
                break
        exact = self._exact.get(raw)
        if exact is not None:
            return _found(exact, exchange, [])
        for pattern, methods in self._patterns:
            if match := pattern.fullmatch(raw):
                return _found(methods, exchange, [decode_once(piece, "the path") for piece in match.groups()])
        raise HttpRefusalError(
            404, "there is nothing at this path; see /docs for people, /openapi.json for programs"
        )

    def _add(self, path: str, methods: dict[str, Route]) -> None:
        if path.endswith(_TAIL):
            self._tails.append((path.removesuffix(_TAIL).encode(), methods))
        elif "{" in path:
            pattern = re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(path))
            self._patterns.append((re.compile(pattern.encode()), methods))
        else:
            self._exact[path.encode()] = methods


_TAIL: Final = "{bucket}/{key...}"


def _found(methods: Mapping[str, Route], exchange: Exchange, pieces: list[str]) -> tuple[Route, list[str]]:
    route = methods.get(exchange.method)
    if route is None and exchange.method == "HEAD":
        route = methods.get("GET")
    if route is None:
        allowed = ", ".join(methods).encode()
        raise HttpRefusalError(405, f"{exchange.method} is not offered here", headers=[(b"allow", allowed)])
    exchange.route = route.path
    exchange.pieces = pieces
    return route, pieces
