"""Names: what is allowed, and that no key can become a dangerous blob name."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import (
    Layout,
    check_blob_name,
    check_bucket,
    check_key,
    check_prefix,
    check_tenant,
    is_sealed,
    mint,
)
from holdfast.core.types import ObjectRef

pytestmark = pytest.mark.unit

BLOB_ID = Environment.seeded(1).new_id()
NASTY = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "\\",
        "‥",
        "．．",
        "%2e",
        "~",
        "=",
        "CON",
        " ",
        "é",
        "😀",
        "a",
        "x" * 250,
        "ÿ" * 120,
        ".gz",
        "．",
    ]
)
KEY = st.one_of(st.text(min_size=1, max_size=300), st.lists(NASTY, min_size=1, max_size=9).map("".join))


def valid(key: str) -> bool:
    try:
        check_key(key)
    except InvalidRequestError:
        return False
    return True


@settings(max_examples=600)
@given(KEY, st.sampled_from(list(Layout)), st.integers(0, 4_000_000_000_000_000))
@example("a/b.tar.gz", Layout.READABLE, 0)
@example("/" * 1024, Layout.READABLE, 0)
@example("é" * 512, Layout.READABLE, 0)
@example("x" * 1024, Layout.READABLE, 0)
@example("." * 3, Layout.READABLE, 0)
@example("a." + "b" * 300, Layout.READABLE, 0)
@example("trailing./x. ", Layout.READABLE, 0)
def test_every_valid_key_gets_a_valid_blob_name(key: str, layout: Layout, now: int) -> None:
    assume(valid(key))
    name = mint(layout, ObjectRef("t" * 63, "b" * 63, key), blob_id=BLOB_ID, now=now)
    assert check_blob_name(name) == name
    assert BLOB_ID in name.rpartition("/")[2]
    assert name.startswith("t" * 63 + "/")


def test_names_read_well() -> None:
    ref = ObjectRef("acme", "photos", "2026/cat photo.jpg")
    assert mint(Layout.IMMUTABLE, ref, blob_id="id", now=1_764_000_000_000_000) == "acme/2025112416/id"
    assert mint(Layout.READABLE, ref, blob_id="id", now=0) == "acme/photos/2026/cat=20photo.jpg/id.jpg"


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b",
        "/leading",
        "trailing/",
        "a//b",
        "CON",
        "nul.txt",
        "trailing. .",
        "back\\slash",
        "😀/ü",
        "%2f%2e%2e",
        "...",
        ".hidden",
        "a..b",
        " ",
        "x" * 1024,
        "é" * 512,
        "‥‥",
        "\u202etxt.exe",
    ],
)
def test_keys_that_are_allowed_stay_as_they_are(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x" * 1025,
        "é" * 513,
        "a\0b",
        "a\nb",
        "a\tb",
        "\x7f",
        "\ud800",
        "a\udfff",
        ".",
        "..",
        "../a",
        "a/..",
        "a/./b",
        "a/../b",
        "a\\..\\b",
        "‥/x",
        "．．/x",
        "a/．/b",
        "…/．．",
    ],
)
def test_keys_that_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="key"):
        check_key(key)


@pytest.mark.parametrize("name", ["abc", "a-b.c_d", "0a0", "a" * 63])
def test_bucket_names_that_are_allowed(name: str) -> None:
    assert check_bucket(name) == name
    assert check_tenant(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 64,
        "Abc",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "a/b",
        "a b",
        "äbc",
        "abc\n",
        "\ud800bc",
        "../x",
    ],
)
def test_bucket_and_tenant_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="bucket"):
        check_bucket(name)
    with pytest.raises(InvalidRequestError, match="tenant"):
        check_tenant(name)


def test_a_bucket_has_three_letters_and_a_tenant_one() -> None:
    with pytest.raises(InvalidRequestError):
        check_bucket("ab")
    assert check_tenant("a") == "a"


def test_prefixes() -> None:
    for prefix in ("", "a/", "..", "é", "\n"):
        assert check_prefix(prefix) == prefix
    for prefix in ("\ud800", "a\0", "x" * 1025):
        with pytest.raises(InvalidRequestError):
            check_prefix(prefix)


@pytest.mark.parametrize(
    "name", ["a", "a/b", "x" * 255, "/".join(["x" * 255] * 4), "!$'()*+,./:;=@_~-", "...", "a.."]
)
def test_blob_names_that_are_allowed(name: str) -> None:
    assert check_blob_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        ".",
        "a/.",
        "..",
        "../a",
        "x" * 256,
        "a%b",
        "a b",
        "é",
        "a\n",
        "a\0",
        "a\\b",
        "a?b",
    ],
)
def test_blob_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="blob name"):
        check_blob_name(name)


def test_a_refusal_of_a_long_name_is_short() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_blob_name("é" * 100_000)
    assert len(str(caught.value)) < 500


def test_a_key_cannot_make_a_blob_look_encrypted() -> None:
    ref = ObjectRef("t", "b", "x.floe1")
    for layout in Layout:
        assert not is_sealed(mint(layout, ref, blob_id=BLOB_ID, now=0))
        assert is_sealed(mint(layout, ref, blob_id=BLOB_ID, now=0, sealed=True))
