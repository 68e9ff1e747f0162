"""What proving copies is about: copies with what is known of their bytes, and findings. Times are microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.core.types import Digests, ObjectRef, Replica


class FindingKind(StrEnum):
    """What is not as the rows say."""

    DARK = "dark"  #: bytes of which no row knows
    LOST = "lost"  #: a row that is live, and no bytes
    WRONG_SIZE = "wrong-size"
    WRONG_HASH = "wrong-hash"  #: the bytes are not those that were written
    WRONG_METADATA = "wrong-metadata"  #: the blob says that it is something else


#: What a run sees that only lists; the others need a look into each blob.
LISTED: Final = frozenset({FindingKind.DARK, FindingKind.LOST, FindingKind.WRONG_SIZE})


class FindingState(StrEnum):
    """The life of a finding. Only what is dark is ever removed; the others end when they are so no longer."""

    NOTED = "noted"  #: by a run that has not ended; it counts only when the run was sound
    SEEN = "seen"
    QUARANTINED = "quarantined"  #: the bytes are removed at `until`, unless it is released
    RELEASED = "released"  #: somebody said that it is to be left alone
    REMOVED = "removed"  #: the bytes are left to `sweep`


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one blob of a store. `run` is the job that saw it last."""

    store: str
    blob: str
    kind: FindingKind
    size: int
    state: FindingState = FindingState.NOTED
    version_id: str = ""  #: of its row; "" where there is none
    detail: str = ""
    run: str = ""
    first_seen: int = 0
    last_seen: int = 0
    sightings: int = 0
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Provable:
    """A copy that is to be proved. `digests` are of its bytes; those of an adopted one may be unknown."""

    replica: Replica
    ref: ObjectRef
    digests: Digests
    proved: int | None  #: when it was last read whole and right
    content_type: str = ""
    part: int | None = None  #: its place among several segments
    cloned_from: str = ""  #: the version that its blob may have been written for, and may say that it is


@dataclass(frozen=True, slots=True)
class Proven:
    """How far the copies in a store are proved, as a count found it."""

    store: str
    copies: int
    bytes: int
    never: int  #: copies that were not read whole since they were written, or are bad
    suspect: int  #: of these, known to be bad
    since: int  #: copies that were proved since the time that was asked for
    since_bytes: int
    oldest: int | None  #: of those that were proved ever, the proof that is longest ago


@dataclass(frozen=True, slots=True)
class Condemned:
    """What came of a bad copy: `there` tells that its row was, `others` how many sound copies its segment has left."""

    there: bool
    others: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """A blob and the line in which it says what it is, gathered to rebuild a catalog."""

    store: str
    blob: str
    size: int
    modified: int
    tenant: str
    bucket: str
    key: str
    version_id: str
    segment_id: str
    part: int  #: 0: the version is one piece
    origin: str  #: the line


@dataclass(frozen=True, slots=True)
class Judged:
    """What the end of a sound run did to the findings of a store."""

    seen: int = 0  #: findings of this run
    gone: int = 0  #: of earlier runs, no longer so
    quarantined: int = 0
    due: int = 0  #: whose quarantine is over


FindingCounts = Mapping[tuple[str, str, str], int]  #: by store, kind and state
