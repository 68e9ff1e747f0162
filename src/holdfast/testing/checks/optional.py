"""What a backend may offer beyond the five verbs, and that it refuses what it does not."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import Mapping
from typing import Final

from holdfast.core.backend import Capability, PutOptions
from holdfast.core.errors import InvalidRequestError, NotFoundError, UnsupportedError
from holdfast.core.types import ByteRange
from holdfast.testing.harness import Harness, holds_true, noise, promise, refused, same, same_bytes

_MIB: Final = 1 << 20


@promise()
async def what_is_not_offered_is_refused(h: Harness) -> None:
    """A call that needs an ability which is not offered raises `UnsupportedError`, and changes nothing."""
    await h.put("blob", b"0123456789")
    if not h.offers(Capability.COPY):
        with refused(UnsupportedError, "copy"):
            await h.backend.copy(h.name("blob"), h.name("copy"))
        await h.absent("copy")
    if not h.offers(Capability.PRESIGN):
        with refused(UnsupportedError, "presign"):
            await h.backend.presign("GET", h.name("blob"), expires_in=60)
    if not h.offers(Capability.IF_ABSENT):
        with refused(UnsupportedError, "put with if_absent"):
            await h.put("new", b"x", if_absent=True)
        await h.absent("new")
    if not h.offers(Capability.RANGE):
        with refused(UnsupportedError, "get of a range"):
            await h.read("blob", ByteRange(1, 2))


@promise()
async def no_file_is_shown_unless_offered(h: Harness) -> None:
    """Without `FILE` a reader carries no descriptor; metadata without `METADATA` is no error."""
    await h.put("blob", b"x", options=PutOptions(metadata={"colour": "red"}))
    if not h.offers(Capability.FILE):
        async with h.backend.get(h.name("blob")) as reader:
            same(reader.file, None, "the reader's file")


@promise(needs=Capability.FILE)
async def the_file_holds_the_same_bytes(h: Harness) -> None:
    """The open file that a reader carries holds the bytes of the span, and its chunks do too."""
    data = noise(3 * _MIB)
    await h.put("blob", data)
    for wish, wanted in (
        (None, data),
        (ByteRange(5, 2_000_000), data[5:2_000_001]),
        (ByteRange(None, 7), data[-7:]),
    ):
        async with h.backend.get(h.name("blob"), range=wish) as reader:
            file = reader.file
            if file is None:
                holds_true(False, "the reader carries no file")
                return
            same(file.length, len(wanted), "the length of the file's part")
            same_bytes(_pread(file.fd, file.length, file.offset), wanted, "the file")
            same_bytes(await reader.read(), wanted, "the chunks beside the file")


@promise(needs=Capability.FILE)
async def the_file_outlives_a_delete(h: Harness) -> None:
    """An open file stays readable when its blob is deleted meanwhile."""
    data = noise(_MIB)
    await h.put("blob", data)
    async with h.backend.get(h.name("blob")) as reader:
        await h.delete("blob")
        holds_true(reader.file is not None, "the reader carries no file")
        if reader.file is not None:
            same_bytes(_pread(reader.file.fd, reader.file.length, reader.file.offset), data, "the file")


@promise(needs=Capability.METADATA)
async def metadata_is_kept(h: Harness) -> None:
    """The metadata given to put is shown by head and get, for small bodies and for streams."""
    metadata = {"colour": "deep blue", "holdfast-version": "0190-ab", "n": "1"}
    for size in (10, 7 * _MIB):
        await h.put("blob", noise(size), options=PutOptions("text/plain", metadata))
        same(dict((await h.head("blob")).metadata), metadata, "the metadata in head")
        async with h.backend.get(h.name("blob")) as reader:
            same(dict(reader.info.metadata), metadata, "the metadata in get")


@promise(needs=Capability.METADATA)
async def an_overwrite_replaces_the_metadata(h: Harness) -> None:
    """Nothing of the old metadata stays when a blob is overwritten."""
    await h.put("blob", b"x", options=PutOptions(metadata={"old": "1", "both": "1"}))
    await h.put("blob", b"x", options=PutOptions(metadata={"both": "2"}))
    same(dict((await h.head("blob")).metadata), {"both": "2"}, "the metadata")
    await h.put("blob", b"x")
    same(dict((await h.head("blob")).metadata), {}, "the metadata after a put without any")


@promise(needs=Capability.METADATA)
async def metadata_fits_as_told(h: Harness) -> None:
    """As many bytes of metadata fit as the limits say, whatever the store's own headers take."""
    room = min(h.backend.limits.max_metadata_bytes, 2048) - len("filler")
    metadata = {"filler": "f" * room}
    await h.put("blob", b"x", options=PutOptions(metadata=metadata))
    same(dict((await h.head("blob")).metadata), metadata, "the metadata")


@promise(needs=Capability.COPY)
async def a_copy_is_a_blob_of_its_own(h: Harness) -> None:
    """A copy has the same bytes, and keeps them when its source is overwritten or deleted."""
    for size in (0, 1000, 6 * _MIB):
        data = noise(size)
        await h.put("source", data)
        info = await h.backend.copy(h.name("source"), h.name("folder/copy"))
        same((info.name, info.size), (h.name("folder/copy"), size), "what copy told")
        await h.holds("folder/copy", data)
        await h.put("source", b"other")
        await h.holds("folder/copy", data)
        await h.delete("source")
        await h.holds("folder/copy", data)


@promise(needs=Capability.COPY)
async def a_copy_replaces_its_target(h: Harness) -> None:
    """A copy onto a name that exists replaces it, and leaves no third name; so does a second one."""
    await h.put("source", b"new")
    await h.put("target", b"old and longer")
    for _ in range(2):
        await h.backend.copy(h.name("source"), h.name("target"))
        await h.holds("target", b"new")
        same(await h.names(), ["source", "target"], "the listing")


@promise(needs=Capability.COPY)
async def copies_of_one_source_are_apart(h: Harness) -> None:
    """Overwriting one of two copies leaves the other one and the source."""
    await h.put("source", b"data")
    await h.backend.copy(h.name("source"), h.name("one"))
    await h.backend.copy(h.name("source"), h.name("two"))
    await h.put("one", b"else")
    await h.holds("two", b"data")
    await h.holds("source", b"data")


@promise(needs=Capability.COPY)
async def a_copy_of_nothing_is_not_found(h: Harness) -> None:
    """A copy of a name that is not there raises `NotFoundError`; the target stays as it was."""
    await h.put("target", b"old")
    with refused(NotFoundError, "a copy of nothing"):
        await h.backend.copy(h.name("never"), h.name("target"))
    await h.holds("target", b"old")


@promise(needs=Capability.COPY | Capability.METADATA)
async def a_copy_keeps_the_metadata(h: Harness) -> None:
    """The metadata goes with the bytes."""
    await h.put("source", b"x", options=PutOptions(metadata={"colour": "red"}))
    await h.backend.copy(h.name("source"), h.name("copy"))
    same(dict((await h.head("copy")).metadata), {"colour": "red"}, "the metadata of the copy")


@promise(needs=Capability.PRESIGN)
async def a_signed_url_reads(h: Harness) -> None:
    """Anybody can read with a signed URL and no credential, the whole blob."""
    data = noise(100_000)
    await h.put("blob", data)
    signed = await h.backend.presign("GET", h.name("blob"), expires_in=300)
    same_bytes((await _fetch(signed.url, signed.method, signed.headers))[0], data, "what the URL gave")


@promise(needs=Capability.PRESIGN)
async def a_signed_url_names_the_download(h: Harness) -> None:
    """The content disposition that was signed comes back as a header."""
    await h.put("blob", b"x")
    wanted = 'attachment; filename="report.pdf"'
    signed = await h.backend.presign("GET", h.name("blob"), expires_in=300, content_disposition=wanted)
    same(
        (await _fetch(signed.url, signed.method, signed.headers))[1].get("content-disposition"),
        wanted,
        "the header",
    )


@promise(needs=Capability.PRESIGN)
async def a_signed_url_writes(h: Harness) -> None:
    """Anybody can write with a URL signed for PUT and no credential."""
    data = noise(100_000)
    signed = await h.backend.presign("PUT", h.name("blob"), expires_in=300)
    await _fetch(signed.url, signed.method, signed.headers, data)
    await h.holds("blob", data)


@promise(needs=Capability.PRESIGN)
async def a_signed_url_tells_when_it_ends(h: Harness) -> None:
    """`expires` is the asked number of seconds from now; less than one second or more than a week is refused."""
    signed = await h.backend.presign("GET", h.name("blob"), expires_in=300)
    away = (signed.expires - h.environment.clock.now()) / 1e6
    holds_true(200 < away <= 301, f"the URL works for {away:.0f} seconds instead of 300")
    for seconds in (0, -5, 604_801):
        with refused(InvalidRequestError, f"a URL for {seconds} seconds"):
            await h.backend.presign("GET", h.name("blob"), expires_in=seconds)


def _pread(fd: int, length: int, offset: int) -> bytes:
    parts = []
    while length and (part := os.pread(fd, length, offset)):
        parts.append(part)
        length, offset = length - len(part), offset + len(part)
    return b"".join(parts)


async def _fetch(
    url: str, method: str, headers: Mapping[str, str], data: bytes | None = None
) -> tuple[bytes, dict[str, str]]:
    """Call `url` with a client that knows nothing of stores."""

    def call() -> tuple[bytes, dict[str, str]]:
        request = urllib.request.Request(url, data, dict(headers), method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.read(), {key.lower(): value for key, value in answer.headers.items()}

    return await asyncio.to_thread(call)
