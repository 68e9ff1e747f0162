"""What is made to fail: each flow prepares a state and then does one thing. Add flows here; every fault visits them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from holdfast.core.body import Body
from holdfast.core.types import BucketSettings, Quota, Upload
from holdfast.engine.describing import Change
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from tests.crash.worlds import StillClock

Notes = dict[str, str]
KEY = "folder/object.bin"


@dataclass(frozen=True)
class Here:
    """What a flow works with."""

    engine: Engine
    session: Session
    clock: StillClock
    bucket: str
    notes: Notes


Step = Callable[[Here], Awaitable[None]]


@dataclass(frozen=True)
class Flow:
    """`repeatable`: doing it twice looks as if it was done once, so that a client's retry ends where the first try would have."""

    name: str
    prepare: Step
    act: Step
    repeatable: bool = True

    def __str__(self) -> str:
        return self.name


def body_of(seed: int, size: int) -> Body:
    return Body.of_bytes(random.Random(seed).randbytes(size))


async def nothing(here: Here) -> None:
    return


async def put_old(here: Here) -> None:
    await here.session.put(here.bucket, KEY, body_of(1, 5000))


async def put_new(here: Here) -> None:
    await here.session.put(here.bucket, KEY, body_of(2, 6000))


async def put_empty(here: Here) -> None:
    await here.session.put(here.bucket, KEY, body_of(2, 0))


async def put_stream(here: Here) -> None:
    """Larger than what is held in memory, of unknown size, and so slow that its lease is renewed on the way."""
    data = random.Random(3).randbytes(3 << 20)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 1 << 20):
            here.clock.advance(400)
            yield data[start : start + (1 << 20)]

    await here.session.put(here.bucket, KEY, Body.of_stream(chunks()))


async def put_again(here: Here) -> None:
    await here.session.put(here.bucket, KEY, body_of(2, 6000), idempotency_key="once")


async def delete(here: Here) -> None:
    await here.session.delete(here.bucket, KEY)


async def delete_version(here: Here) -> None:
    await here.session.delete(here.bucket, KEY, version_id=here.notes["version"])


async def note_version(here: Here) -> None:
    await put_old(here)
    version = await here.session.put(here.bucket, KEY, body_of(4, 4000))
    here.notes["version"] = version.id


async def copy(here: Here) -> None:
    await here.session.copy((here.bucket, KEY), (here.bucket, "copy"))


async def copy_over(here: Here) -> None:
    await here.session.copy((here.bucket, KEY), ("plain", "taken"))


async def put_tagged(here: Here) -> None:
    await here.session.put(
        here.bucket, KEY, body_of(1, 5000), ObjectInput("text/plain", {"m": "1"}, {"tag": "old", "gone": "1"})
    )


async def tag_anew(here: Here) -> None:
    change = Change("text/csv", {"m": "2"}, {"tag": "new", "gone": None}, merge=True)
    await here.session.update(here.bucket, KEY, change)


async def overwrite_tagged(here: Here) -> None:
    await here.session.put(here.bucket, KEY, body_of(2, 6000), ObjectInput(tags={"tag": "over"}))


async def copy_once(here: Here) -> None:
    await here.session.copy((here.bucket, KEY), ("kept", "copied"), idempotency_key="copy")


async def put_both(here: Here) -> None:
    await put_old(here)
    await here.session.put("plain", "taken", body_of(5, 100))


async def copy_parts(here: Here) -> None:
    await here.session.copy((here.bucket, "parts"), (here.bucket, "copy of parts"))


async def create(here: Here) -> None:
    await here.session.create_upload(here.bucket, KEY)


async def open_upload(here: Here) -> None:
    upload: Upload = await here.session.create_upload(here.bucket, KEY)
    here.notes["upload"] = upload.id


async def put_part(here: Here, number: int = 1, seed: int = 11) -> None:
    part = await here.session.put_part(here.bucket, KEY, here.notes["upload"], number, body_of(seed, 3000))
    here.notes[f"part {number}"] = part.etag


async def open_with_parts(here: Here) -> None:
    await put_old(here)
    await open_upload(here)
    await put_part(here, 1, 11)
    await put_part(here, 2, 12)
    await put_part(here, 3, 13)


async def replace_part(here: Here) -> None:
    await here.session.put_part(here.bucket, KEY, here.notes["upload"], 2, body_of(22, 2500))


async def complete(here: Here) -> None:
    """Parts 1 and 2 make the object; part 3 is left over."""
    wanted = [(number, here.notes[f"part {number}"]) for number in (1, 2)]
    await here.session.complete_upload(here.bucket, KEY, here.notes["upload"], wanted)


async def put_in_parts(here: Here) -> None:
    upload = await here.session.create_upload(here.bucket, "parts")
    parts = [
        await here.session.put_part(here.bucket, "parts", upload.id, number, body_of(number, 2000))
        for number in (1, 2)
    ]
    await here.session.complete_upload(
        here.bucket, "parts", upload.id, [(part.number, part.etag) for part in parts]
    )


async def abort(here: Here) -> None:
    await here.session.abort_upload(here.bucket, KEY, here.notes["upload"])


_GROWN = random.Random(31).randbytes(5000)


async def open_resumable(here: Here) -> None:
    await put_old(here)
    made = await here.session.create_resumable(here.bucket, KEY, length=len(_GROWN))
    here.notes["upload"] = made.id


async def grow(here: Here, end: int) -> None:
    """As a client does: ask how far it is, send the rest."""
    now = await here.session.upload_progress(here.notes["upload"])
    if now.version is None and now.offset < end:
        await here.session.append(now.id, now.offset, _pieces(_GROWN[now.offset : end]))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def grow_some(here: Here) -> None:
    await grow(here, 3000)


async def open_grown(here: Here) -> None:
    """All bytes are there, but nobody has said yet that these are all."""
    await put_old(here)
    made = await here.session.create_resumable(here.bucket, KEY)
    await here.session.append(made.id, 0, _pieces(_GROWN))
    here.notes["upload"] = made.id


async def tell_length(here: Here) -> None:
    await here.session.upload_progress(here.notes["upload"], length=len(_GROWN))


async def send_partials(here: Here) -> None:
    await put_old(here)
    for name, size in (("first", 2000), ("second", 100)):
        made = await here.session.create_resumable(here.bucket, name, length=size, partial=True)
        await here.session.append(made.id, 0, _pieces(_GROWN[:size]))
        here.notes[name] = made.id


async def concatenate(here: Here) -> None:
    await here.session.concatenate(here.bucket, KEY, [here.notes["first"], here.notes["second"]])


async def leave_garbage(here: Here) -> None:
    """Replaced, deleted, aborted and kept bytes; everything that may go is past its time."""
    await put_old(here)
    await put_new(here)
    await here.session.put(here.bucket, "kept", body_of(6, 700))
    await here.session.put("plain", "gone", body_of(7, 800))
    await here.session.delete("plain", "gone")
    await open_upload(here)
    await put_part(here)
    await abort(here)
    here.clock.advance(2 * 86_400)


async def sweep(here: Here) -> None:
    await here.engine.sweep()


async def grow_old(here: Here) -> None:
    """One object that is past its retention and one that is not; each is removed in a transaction of its own."""
    await here.session.update_bucket(here.bucket, change=lambda held: replace(held, retention_days=30))
    await put_old(here)
    here.clock.advance(40 * 86_400)
    await here.session.put(here.bucket, "young", body_of(7, 800))


async def expire(here: Here) -> None:
    await here.engine.expire()


async def limit(here: Here) -> None:
    await here.engine.catalog.set_quota("default", here.bucket, Quota(max_bytes=1 << 30))


async def keep_for_a_year(here: Here) -> None:
    wanted = BucketSettings(retention_days=365, quota=Quota(max_objects=1000))
    await here.session.update_bucket(here.bucket, change=lambda _: wanted)


FLOWS = (
    Flow("put", nothing, put_new, repeatable=False),
    Flow("put_empty", nothing, put_empty, repeatable=False),
    Flow("put_stream", put_old, put_stream, repeatable=False),
    Flow("put_idempotent", put_old, put_again),
    Flow("overwrite", put_old, put_new, repeatable=False),
    Flow("delete", put_old, delete, repeatable=False),
    Flow("delete_version", note_version, delete_version),
    Flow("copy", put_old, copy, repeatable=False),
    Flow("copy_over", put_both, copy_over),
    Flow("copy_idempotent", put_tagged, copy_once),
    Flow("update", put_tagged, tag_anew),
    Flow("overwrite_tagged", put_tagged, overwrite_tagged, repeatable=False),
    Flow("copy_parts", put_in_parts, copy_parts, repeatable=False),
    Flow("upload_create", nothing, create, repeatable=False),
    Flow("part", open_upload, put_part),
    Flow("part_replace", open_with_parts, replace_part),
    Flow("complete", open_with_parts, complete),
    Flow("append", open_resumable, grow_some),
    Flow("append_finish", open_grown, tell_length),
    Flow("concatenate", send_partials, concatenate),
    Flow("abort", open_with_parts, abort),
    Flow("sweep", leave_garbage, sweep),
    Flow("expire", grow_old, expire),
    Flow("meter", open_with_parts, limit),
    Flow("settings", put_old, keep_for_a_year),
)
