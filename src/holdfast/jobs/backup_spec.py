"""What a backup is told and where it stands: the members of its spec, the plan of its rows, and its cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import check_bucket, check_store, check_tenant
from holdfast.engine.backups import ages
from holdfast.engine.backups.packing import Piece
from holdfast.jobs import spec as members
from holdfast.policy.backups import COMPRESSIONS, BackupSettings

LEASE: Final = 24 * 3600 * 1_000_000  #: for so long bytes stay for a backup that nobody works at
_MEMBERS: Final = (
    *("store", "tenant", "bucket", "incremental", "parent", "recipients", "plain", "compression"),
    *("auto_split", "max_size", "chunk_size"),
)
_LEAST: Final = 64 << 10


def checked(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spec of a backup in its usual form; `InvalidRequestError` naming the member that is wrong."""
    members.known(spec, *_MEMBERS)
    bucket, tenant = members.text(spec, "bucket"), members.text(spec, "tenant")
    if bucket and not tenant:
        raise InvalidRequestError("bucket goes with tenant: whose bucket is it?")
    store = members.text(spec, "store")
    made: dict[str, Any] = {
        "store": check_store(store) if store else "",
        "tenant": check_tenant(tenant) if tenant else "",
        "bucket": check_bucket(bucket) if bucket else "",
        "incremental": members.flag(spec, "incremental"),
        "parent": members.text(spec, "parent"),
        "plain": members.flag(spec, "plain"),
    }
    made |= _recipients(spec, plain=made["plain"])
    if (compression := members.text(spec, "compression")) and compression not in COMPRESSIONS:
        raise InvalidRequestError(f"compression is one of {', '.join(COMPRESSIONS)}")
    sizes = {name: members.size(spec, name) for name in ("max_size", "chunk_size")}
    for name, size in sizes.items():
        if size is not None and size < _LEAST:
            raise InvalidRequestError(f"{name} is at least {_LEAST} bytes")
    made |= {"compression": compression, **{name: size for name, size in sizes.items() if size is not None}}
    return made | ({"auto_split": members.flag(spec, "auto_split")} if "auto_split" in spec else {})


def _recipients(spec: Mapping[str, Any], *, plain: bool) -> dict[str, Any]:
    given = spec.get("recipients", [])
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise InvalidRequestError("recipients is a list of age public keys")
    if given and plain:
        raise InvalidRequestError("plain says that nothing is encrypted; leave it out, or the recipients")
    return {"recipients": list(ages.check_recipients(given))}


def settled(spec: Mapping[str, Any], usual: BackupSettings) -> BackupSettings:
    """Return what holds for a backup: what its spec says, and else what is usual.

    Raises:
        InvalidRequestError: nothing says whom it is encrypted to, nor that it is not.
    """
    recipients = tuple(spec["recipients"]) or usual.recipients
    if spec["plain"]:
        recipients = ()
    elif not recipients:
        raise InvalidRequestError(
            "a backup is encrypted: name a recipient (holdfast backup keygen makes one), or say that it is plain"
        )
    return BackupSettings(
        store=spec["store"] or usual.store,
        recipients=ages.check_recipients(recipients),
        compression=spec["compression"] or usual.compression,
        split=spec.get("auto_split", usual.split),
        whole=spec.get("max_size", usual.whole),
        chunk=spec.get("chunk_size", usual.chunk),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt at the rows of a backup: all of them as they were at `moment`, and how its contents are written."""

    attempt: str
    moment: int
    started: int
    tenant: str
    bucket: str
    parent: str
    compression: str
    recipients: Sequence[str]
    file_size: int
    rows: Sequence[Piece]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Done:
    """One step of a backup: the files that it wrote, after which other step, and what it counted."""

    number: int
    nonce: str
    previous: str
    index: Piece
    data: Piece | None
    counts: Mapping[str, int]
    needs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a backup stands: the rows (no `attempt` yet), contents, or the end.

    Versions up to `after` are done; of the next one `position` segments, and `offset` bytes of the one after these.
    `steps` have been written, the last of them `nonce`.
    """

    attempt: str = ""
    after: str = ""
    position: int = 0
    offset: int = 0
    steps: int = 0
    nonce: str = ""
    over: bool = False
    told: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Cursor:
        """Return the cursor that was told as `text`."""
        return msgspec.json.decode(text, type=cls) if text else cls()

    @property
    def text(self) -> str:
        """The cursor as text."""
        return msgspec.json.encode(self).decode()
