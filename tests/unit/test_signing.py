"""The text that is signed: whatever differs in what is asked differs in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import InvalidRequestError
from holdfast.policy.signing import (
    Purpose,
    Terms,
    allows_type,
    check_terms,
    holds,
    message,
    network,
    read,
    sign,
)

pytestmark = pytest.mark.unit

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
QUERY = st.dictionaries(TEXT, TEXT, max_size=5)


@given(
    st.tuples(st.sampled_from([Purpose.GET, Purpose.PUT]), TEXT, QUERY),
    st.tuples(st.sampled_from([Purpose.GET, Purpose.PUT]), TEXT, QUERY),
)
def test_different_requests_have_different_texts(
    one: tuple[Purpose, str, dict[str, str]], two: tuple[Purpose, str, dict[str, str]]
) -> None:
    def covered(request: tuple[Purpose, str, dict[str, str]]) -> object:
        return request[0], request[1], {name: text for name, text in request[2].items() if name != "hf_sig"}

    assert (message(*one) == message(*two)) == (covered(one) == covered(two))


def test_pieces_cannot_run_together() -> None:
    assert message(Purpose.GET, "/a", {"b": "c\n1:d"}) != message(Purpose.GET, "/a", {"b": "c", "1:d": ""})
    assert message(Purpose.GET, "/ab", {}) != message(Purpose.GET, "/a", {"b": ""})


TERMS = Terms("t", "key:k", 3, 2_000_000_000, Purpose.PUT, "", "image/*", 17, "10.0.0.0/8", "n")


def test_terms_travel_and_come_back() -> None:
    assert read({**TERMS.parameters(), "hf_sig": "s"}) == TERMS
    upload = Terms("t", "k", 1, 5, Purpose.UPLOAD, "bucket/key")
    assert read({**upload.parameters(), "hf_sig": "s", "bucket": "b"}) == upload


@pytest.mark.parametrize(
    "change",
    [
        {"hf_gen": "03"},
        {"hf_gen": "+3"},
        {"hf_gen": "３"},
        {"hf_expires": "2e9"},
        {"hf_expires": "1" * 16},
        {"hf_max": "-1"},
        {"hf_max": "1.0"},
        {"hf_method": "get"},
        {"hf_method": "DELETE"},
        {"hf_new": "1"},
        {"hf_path": "a/b"},
        {"hf_type": ""},
        {"hf_tenant": ""},
        {"hf_once": ""},
        {"hf_sig": ""},
    ],
)
def test_terms_with_a_second_spelling_are_none(change: dict[str, str]) -> None:
    assert read({**TERMS.parameters(), "hf_sig": "s", **change}) is None


@pytest.mark.parametrize("name", ["hf_tenant", "hf_key", "hf_gen", "hf_expires", "hf_method", "hf_sig"])
def test_terms_that_are_not_complete_are_none(name: str) -> None:
    query = {**TERMS.parameters(), "hf_sig": "s"}
    del query[name]
    assert read(query) is None


def test_a_signature_is_43_letters_and_has_one_spelling() -> None:
    made = sign(b"k" * 32, b"text")
    assert len(made) == 43
    assert holds(b"k" * 32, b"text", made)
    for other in (made + "=", made[:-1], made.lower(), made[:-1] + "_", "", "é"):
        assert not holds(b"k" * 32, b"text", other) or other == made


@pytest.mark.parametrize(
    ("pattern", "given_type", "allowed"),
    [
        ("image/png", "image/png", True),
        ("image/png", "IMAGE/PNG; charset=x", True),
        ("image/png", "image/jpeg", False),
        ("image/*", "image/jpeg", True),
        ("image/*", "imagex/jpeg", False),
        ("image/*", "image/", False),
        ("text/plain; charset=utf-8", "text/plain", True),
    ],
)
def test_types(pattern: str, given_type: str, allowed: bool) -> None:
    assert allows_type(pattern, given_type) is allowed


def test_networks_have_one_spelling() -> None:
    assert network("10.1.2.3/8") == "10.0.0.0/8"
    assert network("2001:DB8::1") == "2001:db8::1/128"
    with pytest.raises(InvalidRequestError):
        network("10.0.0.0/33")


def test_a_lifetime_of_a_week_is_the_longest() -> None:
    check_terms(Terms("t", "k", 1, 604_800, Purpose.GET), 0)
    with pytest.raises(InvalidRequestError):
        check_terms(Terms("t", "k", 1, 604_801, Purpose.GET), 0)
