"""Text in byte order: what comes right after a key, and right after everything with a prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.catalog.folding import BEYOND, Fold, after, successor

pytestmark = pytest.mark.unit

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SHORT = st.text("ab\ud7ff\ue000\U0010ffff", max_size=4)


@given(st.one_of(TEXT, SHORT).filter(bool), st.one_of(TEXT, SHORT), st.one_of(TEXT, SHORT))
def test_the_successor_lies_between_the_prefix_and_the_rest(prefix: str, rest: str, other: str) -> None:
    bound = successor(prefix)
    assert (prefix + rest).encode() < bound.encode()
    if not other.startswith(prefix) and other.encode() > prefix.encode():
        assert bound.encode() <= other.encode()


@pytest.mark.parametrize(
    ("prefix", "bound"),
    [
        ("a", "b"),
        ("a/", "a0"),
        ("\ud7ff", "\ue000"),
        ("\x7f", "\x80"),
        ("\uffff", "\U00010000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff\U0010ffff", BEYOND),
    ],
)
def test_the_step_to_the_next_character(prefix: str, bound: str) -> None:
    assert successor(prefix) == bound
    bound.encode()


@given(TEXT, TEXT)
def test_nothing_lies_between_a_key_and_what_comes_after_it(key: str, other: str) -> None:
    assert key.encode() < after(key).encode()
    if other.encode() > key.encode():
        assert other.encode() >= after(key).encode()


def test_beyond_is_beyond_every_key() -> None:
    assert ("\U0010ffff" * 256).encode() < BEYOND.encode()
    assert len(("\U0010ffff" * 256).encode()) == 1024


def test_a_delimiter_inside_the_prefix_does_not_fold() -> None:
    fold = Fold("a/b", "/")
    assert fold.prefix_of("a/bc") is None
    assert fold.prefix_of("a/bc/d/e") == "a/bc/"
    assert fold.prefix_of("a/b/") == "a/b/"
    assert Fold("", "").prefix_of("a/b") is None
    assert Fold("", "//").prefix_of("a/b//c//d") == "a/b//"


def test_where_a_listing_starts() -> None:
    assert Fold("p", "/").start("") == "p"
    assert Fold("p", "/").start("a") == "p"
    assert Fold("", "/").start("a/b") == "a0"
    assert Fold("", "/").start("a/") == "a0"
    assert Fold("", "/").start("a") == after("a")
    assert Fold("", "").start("a/b") == after("a/b")
