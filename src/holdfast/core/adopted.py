"""Blobs that others wrote, under names of their own choosing: what they are called here.

A store is asked for such a blob by a name that begins with `@`, which no minted name does:

* `@any:/KEY`: whatever has that key now. In listings the prefix and the place to go on from are spelled so too.
* `@keep:PIN/KEY`, `@own:PIN/KEY`: the content that had the key when it was adopted. `PIN` is what the store calls that
  content (its ETag), so the name means one content for ever: when the key has got another one, nothing has this name.

Deleting a `keep` name succeeds and leaves the bytes alone: they are somebody else's. Deleting an `own` name removes the
bytes if the key still has that content. What is outside the grammar of blob names is escaped as `=XX`, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import EMPTY, BlobInfo

MARK: Final = "@"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9!$'()*+,./:;@_~-]")
_ESCAPED: Final = re.compile(r"(?:=[0-9A-F]{2})+")
_NAME: Final = re.compile(r"@(any|keep|own):([^/]*)/(.*)", re.DOTALL)


class Hold(StrEnum):
    """Whose the bytes of a name are."""

    ANY = "any"  #: whatever is there
    KEEP = "keep"  #: somebody else's: never deleted
    OWN = "own"  #: ours from now on


class ForeignName(NamedTuple):
    """What a name that begins with `@` says."""

    hold: Hold
    pin: str
    key: str


def foreign_name(key: str, pin: str = "", hold: Hold = Hold.ANY) -> str:
    """Return the name of what the store calls `key`."""
    return f"{MARK}{hold}:{_escape(pin).replace('/', '=2F')}/{_escape(key)}"


def is_foreign(name: str) -> bool:
    """Tell whether the blob of that name was written by others."""
    return name.startswith(MARK)


def is_kept(name: str) -> bool:
    """Tell whether the bytes under that name are never deleted."""
    return name.startswith("@keep:")


def parse_foreign(name: str) -> ForeignName:
    """Return what `name` says; `InvalidRequestError` when it is none of these names."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidRequestError(f"{name[:80]!r} is no name of an adopted blob")
    return ForeignName(Hold(found[1]), _plain(found[2]), _plain(found[3]))


def key_of(name: str) -> str:
    """Return the key in `name`; "" when it is "" (an end of a listing)."""
    return parse_foreign(name).key if name else ""


def _escape(text: str) -> str:
    def spelled(match: re.Match[str]) -> str:
        return "".join(f"={byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))

    return _UNSAFE.sub(spelled, text)


def _plain(text: str) -> str:
    def meant(match: re.Match[str]) -> str:
        return bytes.fromhex(match[0].replace("=", "")).decode("utf-8", "surrogateescape")

    return _ESCAPED.sub(meant, text) if "=" in text else text


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a foreign store, and the key that it has here. `pin` is its ETag as the store tells it."""

    key: str
    name: str  #: what the store calls it
    size: int
    pin: str
    modified: int
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)

    @classmethod
    def of(cls, key: str, info: BlobInfo, content_type: str) -> Found:
        """Return what `info`, named as listings and heads of foreign blobs do, says of `key`."""
        return cls(
            key,
            key_of(info.name),
            info.size,
            info.etag or "",
            info.modified,
            content_type,
            info.metadata,
            info.tags,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something found, to be taken over, and the ids that its rows get. `over` is the version that was its key's newest
    when the store was asked for this very key; None when only a listing told of it."""

    found: Found
    version_id: str
    replica_id: str
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Taking:
    """How candidates of one store are taken over. With `rule` they belong elsewhere, and a debt says so.

    With `later` what is there may also replace a change that is to be written out, if it came after it.
    """

    store: str
    keep: bool = True  #: their bytes are never deleted
    follows: bool = False  #: they are in the upstream of the bucket
    rule: str | None = None
    later: bool = False


class Outcome(StrEnum):
    """What became of a candidate."""

    TAKEN = "taken"  #: a new object
    CHANGED = "changed"  #: a new version of one that was here
    SAME = "same"  #: it is here
    OURS = "ours"  #: what is here, or that it was deleted here, holds
    RACED = "raced"  #: something changed meanwhile: ask the store for it, and try again
    MINTED = "minted"  #: it is a blob of our own
    REFUSED = "refused"
    GONE = "gone"  #: its store has it no more


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a candidate, and the version that its key has now."""

    key: str
    outcome: Outcome
    version_id: str = ""
    reason: str = ""


class Phase(StrEnum):
    """Where a bucket stands on its way out of its upstream."""

    FOLLOWING = "following"  #: what is not here is looked for there; changes there are taken over
    CUTOVER = "cutover"  #: the upstream is not read any more, and kept
    BACK = "back"  #: as following, and all that was changed here is written out, so that clients may go back


@dataclass(frozen=True, slots=True)
class Upstream:
    """A store that others still write to, of which a bucket takes over what lies under `prefix`.

    A key here is the key there without `prefix`. Times are microseconds.
    """

    tenant: str
    bucket: str
    store: str
    prefix: str = ""
    phase: Phase = Phase.FOLLOWING
    dual_write: bool = False  #: what is changed here is written out there too
    fresh: bool = True  #: each read asks the upstream whether there is something newer
    keep: bool = True  #: its objects are never deleted because their versions are
    attached: int = 0
    passes: int = 0  #: listings that were followed to their end
    passed: int | None = None  #: when the last one ended
    verified: int | None = None  #: when it was last compared, to the end
    differences: int | None = None  #: how many that found
    bucket_id: int = 0

    @property
    def reads(self) -> bool:
        """Whether the upstream is looked into at all."""
        return self.phase is not Phase.CUTOVER

    @property
    def writes(self) -> bool:
        """Whether changes are written out."""
        return self.dual_write or self.phase is Phase.BACK

    def name(self, key: str) -> str:
        """Return what the upstream calls `key`."""
        return self.prefix + key

    def key(self, name: str) -> str:
        """Return what the upstream's `name` is called here."""
        return name[len(self.prefix) :]


@dataclass(frozen=True, slots=True)
class Divergence:
    """A key that was changed here since its bucket was attached: written (`version_id`), or deleted ("").

    `pin` and `modified` are what the upstream had of it when that was known last; after a change was written out,
    what that made. `owed` says that the upstream does not have the change. `sent`, size and SHA-256, is the content that
    somebody began to write out, this change or an earlier one: the upstream may have it, and not know of it here.
    """

    key: str
    version_id: str
    at: int
    pin: str = ""
    modified: int = 0
    owed: bool = True
    tries: int = 0
    not_before: int = 0
    trouble: str = ""
    sent: str = ""

    @property
    def deleted(self) -> bool:
        """Whether it was deleted here."""
        return not self.version_id


@dataclass(frozen=True, slots=True)
class Owing:
    """How many changes an upstream does not have, since when, and what was wrong with one of them."""

    count: int = 0
    since: int | None = None
    trouble: str = ""


class Pinned(NamedTuple):
    """An object as it was adopted."""

    key: str
    version_id: str
    pin: str
    modified: int
    size: int


class Stranded(NamedTuple):
    """A version of any bucket whose bytes are only where others wrote them, in a store that is to be left."""

    tenant: str
    bucket: str
    key: str
    version_id: str
    blob: str
    replica_id: str


class Missed(NamedTuple):
    """An object that a listing did not show, first in the pass `number`."""

    key: str
    version_id: str
    number: int


class Verdict(StrEnum):
    """What to do with what was found."""

    TAKE = "take"  #: it is new here, or newer than what is here
    SAME = "same"  #: it is here already
    OURS = "ours"  #: what is here, or that it was deleted here, holds
    LOOK = "look"  #: it seems to have changed: ask the store for this one key


@dataclass(frozen=True, slots=True)
class HeldKey:
    """What is here of a key: its newest version, and how it diverged."""

    key: str
    version_id: str = ""  #: "": there is none
    created: int = 0
    pin: str = ""  #: it was adopted from that content; "": it was written here
    deleted: bool = False  #: the version is a delete marker
    owed: bool = False  #: it is not (only) where it belongs
    divergence: Divergence | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How a bucket takes over: once (`follows` false), or all the time; with `writes` changes here are written out."""

    follows: bool = False
    writes: bool = False


class Judge(Protocol):
    """Says what becomes of something found (`policy.following.judge`)."""

    def __call__(self, found: Found, held: HeldKey, way: Way, *, certain: bool = False) -> Verdict: ...
