"""Which files of a tree are meant: patterns of one well-defined form.

* `*` is any text without a slash, `?` any character but a slash, `**` any number of folders (`a/**/b` is `a/b` too);
* a pattern with a slash in it, but for its end, is meant from the top of the tree; one without, at any depth;
* a pattern that fits a folder means all that is in it; with a slash at its end it means folders only;
* everything else stands for itself, brackets too.

`exclude` leaves out; one that begins with `!` takes in again, and the last that fits decides. `include`, where there is
any, takes in nothing but what one of them fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.core.errors import InvalidRequestError

_TOKEN = re.compile(r"\*\*/|/\*\*$|\*\*|\*|\?|[^*?]+")
_AS = {"**/": "(?:[^/]+/)*", "/**": "/.+", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Selection(NamedTuple):
    """What `include` and `exclude` leave of a tree. Make it with `selection`."""

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[tuple[bool, re.Pattern[str]], ...] = ()
    again: bool = False  #: whether any pattern takes in again

    def takes(self, key: str) -> bool:
        """Return whether the file `key` is meant."""
        if self.include and not any(pattern.match(key) for pattern in self.include):
            return False
        for taken, pattern in reversed(self.exclude):
            if pattern.match(key):
                return taken
        return True

    def enters(self, folder: str) -> bool:
        """Return whether anything in `folder` (with its slash) could be meant; when in doubt it could."""
        if self.again or not self.exclude:
            return True
        return not any(pattern.match(folder) for _, pattern in self.exclude)


EVERYTHING = Selection()


def selection(include: Iterable[str] = (), exclude: Iterable[str] = ()) -> Selection:
    """Return what the patterns mean.

    Raises:
        InvalidRequestError: one is empty, or holds nothing but a slash.
    """
    left = [(text.startswith("!"), text.removeprefix("!")) for text in exclude]
    return Selection(
        tuple(_compiled(text) for text in include),
        tuple((taken, _compiled(text)) for taken, text in left),
        any(taken for taken, _ in left),
    )


def lines(text: str) -> Sequence[str]:
    """Return the patterns in a file: one per line, without empty lines and those that begin with `#`."""
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def _compiled(pattern: str) -> re.Pattern[str]:
    body = pattern.strip("/")
    if not body:
        raise InvalidRequestError(
            f"{pattern!r} is no pattern; write for example *.tmp, build/ or data/**/*.csv"
        )
    anywhere = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    inside = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    said = "".join(_AS.get(token) or re.escape(token) for token in _TOKEN.findall(body))
    return re.compile(f"{anywhere}{said}{inside}\\Z", re.DOTALL)
