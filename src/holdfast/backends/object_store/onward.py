"""How a listing goes on from one page to the next: by the server's token, or by the last key where tokens begin slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from holdfast.core.blob_info import BlobInfo
from holdfast.core.clock import Clock

PAGE: Final = 1000  #: objects of a page, the most that S3 gives
#: The server that writes a listing down for whoever comes back with a token, and has him wait for that.
SLOW_TOKENS: Final = "MinIO"
#: Seconds that a listing may spend going on by key: it costs a look at the whole folder each time, so a listing that
#: is long, or of large folders, does better with tokens after all, and has then lost no more than about this.
_BY_KEY: Final = 1.0


def page_of(prefix: str) -> Sequence[tuple[str, str]]:
    """Return what asks for a page of the objects that begin with `prefix`: the first one, if nothing is added."""
    return [("list-type", "2"), ("prefix", prefix), ("encoding-type", "url"), ("max-keys", str(PAGE))]


class Onward:
    """Where a listing stands: what asks for its next page.

    From a key inside a folder `a/`, MinIO counts what is called `a-b` or `a.b` as part of the page and then leaves it out.
    Such a page is too short, and said to be the last one: an end that was found so is asked for again, by token.
    """

    def __init__(self, prefix: str, after: str, clock: Clock) -> None:
        self._clock, self._asked, self._spent = clock, 0.0, 0.0
        self._base = prefix.rfind("/") + 1
        self._start = [("start-after", after)] if after else []
        self._last, self._by_key = after, False
        self.token = ""  #: that of the last page

    @property
    def after(self) -> str:
        """The key after which the next page begins; "" when it is asked for by token."""
        return self._last if self._by_key else ""

    def query(self) -> Sequence[tuple[str, str]]:
        """Return what asks for the next page."""
        self._asked = self._clock.monotonic()
        if self._by_key:
            return [("start-after", self._last)]
        return [*self._start, ("continuation-token", self.token)] if self.token else self._start

    def follows(self, page: Sequence[BlobInfo], headers: Mapping[str, str], *, ends: bool) -> bool:
        """Return whether it is the page that was meant; if not, the next query asks for it by token."""
        self._spent += self._clock.monotonic() - self._asked
        by_start = bool(self._start) and not self.token
        doubtful = ends and "/" in self._last[self._base :]
        if self._by_key and (doubtful or not page or page[0].name <= self._last):
            self._by_key, self._spent = False, _BY_KEY
            return False
        if by_start and doubtful and headers.get("server") == SLOW_TOKENS:
            self._start = []  # from the beginning, then
            return False
        return True

    def more(self, token: str, page: Sequence[BlobInfo], headers: Mapping[str, str]) -> None:
        """Take what the last page tells of the next."""
        self.token = token
        self._by_key = bool(page) and self._spent < _BY_KEY and headers.get("server") == SLOW_TOKENS
        self._last = page[-1].name if page else self._last
