"""What blobs say of themselves: the line, where it is kept, and that it comes and goes with its blob."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backends.memory import MemoryBackend
from holdfast.backends.object_store.metadata import encode
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, Store
from holdfast.core.body import Body
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptedError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from holdfast.core.names import ABOUT, Layout, check_blob_name, mint
from holdfast.core.types import BlobInfo, ObjectRef, Origin
from holdfast.layers.base import Layer
from holdfast.layers.describing import Describing
from holdfast.layers.origin_text import METADATA, MOST, tell, understand
from holdfast.layers.origins import lonely, origins, read_origin
from holdfast.layers.readonly import ReadOnly
from holdfast.layers.retry import Retry
from tests.helpers import run

pytestmark = pytest.mark.unit

ID = "0190f3a2-7b1c-7def-8123-456789abcdef"
DATA = Body.of_bytes(b"data")

keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=340)
told = st.builds(
    Origin,
    tenant=st.just("acme"),
    bucket=st.just("models"),
    key=keys,
    version=st.just(ID),
    segment=st.sampled_from([ID, ID.replace("0190", "0191")]),
    part=st.none() | st.integers(1, 10_000),
    created=st.integers(0, 1 << 53),
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
)


def origin(key: str = "fonts/arial.ttf", version: str = ID) -> Origin:
    return Origin("acme", "models", key, version, version, None, 1_700_000_000_000_000)


class Small(Layer):
    """A store with little room for metadata."""

    preserves = ~Capability.NONE

    @property
    def limits(self) -> Limits:
        return Limits(max_metadata_bytes=120)


class Breaks(Layer):
    """A store in which the put of one name fails."""

    preserves = ~Capability.NONE
    broken = ""

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        if name == self.broken:
            raise UnavailableError("no")
        return await super().put(name, body, options=options, if_absent=if_absent)


async def names(backend: Backend) -> list[str]:
    return [info.name async for info in backend.list()]


async def said(store: Store) -> dict[str, Origin | None]:
    return {name: origin async for name, origin in origins(store)}


@given(told)
def test_a_line_is_understood_as_it_was_meant(origin: Origin) -> None:
    line = tell(origin)
    assert understand(line) == origin
    assert encode({METADATA: line}) == {METADATA: line}, "it fits into a header as it is"


def test_the_longest_line_fits_where_metadata_usually_does() -> None:
    long = Origin("t" * 63, "b" * 63, "ü" * 512, ID, ID, 10_000, 1 << 53, "f" * 64)
    for key in ("ü" * 512, "k" * 1024, "%" * 1024, "日" * 341):
        line = tell(Origin("t" * 63, "b" * 63, key, ID, ID[::-1], 10_000, 1 << 53, "f" * 64))
        assert len(METADATA) + len(line) <= MOST <= 2048
    assert understand(tell(long)) == long


def test_the_form_of_a_line_is_what_was_promised() -> None:
    assert tell(origin("a b/ü.txt")) == (f"v=1&t=acme&b=models&k=a%20b/%C3%BC.txt&i={ID}&c=1700000000000000")
    assert understand(tell(origin()) + "&z=later") == origin()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "v=2&t=a",
        "v=1",
        f"v=1&t=a&b=b&k=%FF&i={ID}&c=1",
        f"v=1&t=a&b=b&k=k&i={ID}&c=x",
        "v=1&K=%&t=&b=&i=&c=1",
    ],
)
def test_what_is_no_such_line_says_nothing(line: str) -> None:
    assert understand(line) is None


def test_no_minted_name_can_be_that_of_a_record_and_all_leave_room_for_one() -> None:
    for key in ("x:about", "a.about", "k" * 1024, "/".join(["ü" * 5] * 80), "d/" * 500 + ".:about"):
        for sealed in (False, True):
            name = mint(Layout.READABLE, ObjectRef("acme", "models", key), blob_id=ID, now=0, sealed=sealed)
            assert not name.endswith(ABOUT)
            check_blob_name(name + ABOUT)


def test_metadata_says_it_where_there_is_some() -> None:
    async def story() -> None:
        inner = MemoryBackend("m")
        layer = Describing(inner)
        info = await layer.put("a", DATA, options=PutOptions(metadata={"own": "1"}, origin=origin()))
        assert info.metadata["own"] == "1"
        assert await names(inner) == ["a"]
        assert await read_origin(layer, "a") == origin()
        await layer.put("b", DATA)
        assert await said(Store("m", layer)) == {"a": origin(), "b": None}

    run(story())


@pytest.mark.parametrize("small", [True, False])
def test_a_record_says_it_where_there_is_none_or_no_room(small: bool) -> None:
    async def story() -> None:
        inner = MemoryBackend("m")
        layer = Describing(Small(inner)) if small else Describing(inner, in_metadata=False)
        await layer.put("a/b", DATA, options=PutOptions(origin=origin("k" * 50)))
        assert await names(inner) == ["a/b", "a/b:about"]
        assert await names(layer) == ["a/b"]
        assert await read_origin(layer, "a/b") == origin("k" * 50)
        assert await said(Store("m", ReadOnly(layer))) == {"a/b": origin("k" * 50)}
        await layer.delete("a/b")
        assert await names(inner) == []

    run(story())


def test_a_blob_whose_put_failed_leaves_a_record_which_its_discard_takes() -> None:
    async def story() -> None:
        inner = Breaks(MemoryBackend("m"))
        layer = Describing(inner, in_metadata=False)
        inner.broken = "a"
        with pytest.raises(UnavailableError):
            await layer.put("a", DATA, options=PutOptions(origin=origin()))
        assert await names(inner) == ["a:about"]
        assert await names(layer) == []
        assert [name async for name in lonely(Store("m", layer))] == ["a"]
        assert await said(Store("m", layer)) == {}
        await layer.discard("a")
        assert await names(inner) == []
        inner.broken = "a:about"
        with pytest.raises(UnavailableError):
            await layer.put("a", DATA, options=PutOptions(origin=origin()))
        assert await names(inner) == [], "no blob without its record"

    run(story())


@pytest.mark.parametrize("in_metadata", [True, False])
def test_a_copy_says_what_it_is_and_not_what_its_source_is(in_metadata: bool) -> None:
    async def story() -> None:
        inner = MemoryBackend("m")
        layer = Describing(inner, in_metadata=in_metadata)
        outer = Retry(layer, environment=inner._environment)
        await outer.put("a", DATA, options=PutOptions(origin=origin("one")))
        await outer.describe("b", origin("two"))
        await outer.copy("a", "b")
        await outer.copy("a", "c")
        await outer.copy("b", "d")
        store = Store("m", outer)
        assert await said(store) == {
            "a": origin("one"),
            "b": origin("two"),
            "c": origin("one"),
            "d": origin("two"),
        }
        for name in "abcd":
            assert await read_origin(outer, name) == (await said(store))[name]
            await outer.delete(name)
        assert await names(inner) == []

    run(story())


def test_a_name_that_is_taken_keeps_its_record() -> None:
    async def story() -> None:
        inner = MemoryBackend("m")
        layer = Describing(inner, in_metadata=False)
        first, second = PutOptions(origin=origin("first")), PutOptions(origin=origin("second"))
        await layer.put("a", DATA, options=first, if_absent=True)
        with pytest.raises(AlreadyExistsError):
            await layer.put("a", DATA, options=second, if_absent=True)
        assert await read_origin(layer, "a") == origin("first")
        await inner.delete("a")
        await layer.put("a", DATA, options=second, if_absent=True)
        assert await read_origin(layer, "a") == origin("second")

    run(story())


def test_names_that_begin_alike_are_told_apart() -> None:
    async def story() -> None:
        layer = Describing(MemoryBackend("m"), in_metadata=False)
        wanted = ["a", "a.b", "a.b/c", "a/b", "a0", "aa", "b", "b/b/b", "b/b:", "b9"]
        for name in wanted:
            await layer.put(name, DATA, options=PutOptions(origin=origin(name)))
        await layer.put("a+", DATA)
        found = [pair async for pair in origins(Store("m", layer))]
        assert sorted(name for name, _ in found) == sorted([*wanted, "a+"])
        assert dict(found) == {**{name: origin(name) for name in wanted}, "a+": None}

    run(story())


def test_what_is_refused() -> None:
    async def story() -> None:
        inner = MemoryBackend("m")
        layer = Describing(inner, in_metadata=False)
        with pytest.raises(InvalidRequestError, match="kept for descriptions"):
            await layer.put("a:about", DATA)
        with pytest.raises(ConflictError, match="read-only"):
            await ReadOnly(layer).describe("a", origin())
        await layer.put("a", DATA, options=PutOptions(origin=origin()))
        await inner.put("a:about", Body.of_bytes(b"x" * 10_000))
        with pytest.raises(CorruptedError):
            await read_origin(layer, "a")
        with pytest.raises(NotFoundError):
            await read_origin(layer, "never")

    run(story())
