"""The error tree: complete, coded once, and telling where."""

from __future__ import annotations

import inspect

import pytest

from holdfast.core import errors
from holdfast.core.errors import BY_CODE, KINDS, HoldfastError, InternalError, UnavailableError

pytestmark = pytest.mark.unit

RETRYABLE = {"rate_limited", "unavailable", "deadline", "corrupted"}


def test_every_kind_is_in_the_table_once() -> None:
    defined = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, HoldfastError) and kind is not HoldfastError
    }
    assert set(KINDS) == defined
    assert len(BY_CODE) == len(KINDS) == len({kind.code for kind in KINDS}) == 18
    assert BY_CODE["internal"] is InternalError


def test_which_kinds_may_pass() -> None:
    assert {kind.code for kind in KINDS if kind.retryable} == RETRYABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_means(kind: type[HoldfastError]) -> None:
    assert kind.__doc__
    assert kind.code == kind.code.lower()


def test_an_error_tells_where() -> None:
    error = UnavailableError("no answer", operation="get", store="main", name="a/b", retry_after=3.0)
    assert str(error) == "no answer [get main a/b]"
    assert (error.message, error.retry_after) == ("no answer", 3.0)
    assert str(UnavailableError("no answer")) == "no answer"
    assert str(UnavailableError("no answer", store="main")) == "no answer [main]"
