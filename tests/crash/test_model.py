"""The model: which contents a key may have after what was said."""

from __future__ import annotations

from typing import Any

import pytest

from torture.journal import Event
from torture.model import Model

pytestmark = pytest.mark.crash

KEY = ("plain", "a")


def ask(op: int, content: str | None, key: str = "a", source: str | None = None) -> Event:
    more: dict[str, Any] = {"source": ["plain", source]} if source else {"content": content}
    return {"what": "ask", "op": op, "bucket": "plain", "key": key, **more}


def answer(op: int, **facts: Any) -> Event:
    return {"what": "answer", "op": op, **facts}


def fail(op: int, *, refused: bool = False) -> Event:
    return {"what": "fail", "op": op, "refused": refused}


def heard(*events: Event) -> Model:
    model = Model()
    model.hear(events)
    return model


def test_nothing_said_nothing_there() -> None:
    assert heard().allowed(KEY) == {None}


def test_an_answered_write_must_be_there() -> None:
    assert heard(ask(1, "x"), answer(1)).allowed(KEY) == {"x"}


def test_a_write_without_an_answer_may_be_there() -> None:
    assert heard(ask(1, "x")).allowed(KEY) == {None, "x"}


def test_a_later_answered_write_replaces() -> None:
    assert heard(ask(1, "x"), answer(1), ask(2, "y"), answer(2)).allowed(KEY) == {"y"}


def test_of_two_writes_at_once_either_may_have_been_last() -> None:
    assert heard(ask(1, "x"), ask(2, "y"), answer(1), answer(2)).allowed(KEY) == {"x", "y"}


def test_a_failed_write_is_over_when_a_later_one_is_answered() -> None:
    assert heard(ask(1, "x"), fail(1), ask(2, "y"), answer(2)).allowed(KEY) == {"y"}
    assert heard(ask(2, "y"), answer(2), ask(1, "x"), fail(1)).allowed(KEY) == {"x", "y"}


def test_a_refused_write_did_not_happen() -> None:
    assert heard(ask(1, "x"), fail(1, refused=True)).allowed(KEY) == {None}


def test_an_answered_delete_leaves_nothing() -> None:
    assert heard(ask(1, "x"), answer(1), ask(2, None), answer(2)).allowed(KEY) == {None}


def test_a_copy_may_have_what_its_source_could_have() -> None:
    model = heard(
        ask(1, "x", key="b"), answer(1), ask(2, "y", key="b"), ask(3, None, source="b"), answer(3), answer(2)
    )
    assert model.allowed(KEY) == {"x", "y"}


def test_a_copy_that_said_what_it_copied_has_that() -> None:
    model = heard(ask(1, "x", key="b"), ask(3, None, source="b"), answer(3, content="x"))
    assert model.allowed(KEY) == {"x"}


def test_copies_in_a_circle_end() -> None:
    model = heard(ask(1, None, key="a", source="b"), ask(2, None, key="b", source="a"))
    assert model.allowed(KEY) == {None}


def test_reads_are_held_against_the_time_they_took() -> None:
    early = [{"what": "read", "op": 9, "bucket": "plain", "key": "a"}]
    saw = [{"what": "saw", "op": 9, "content": "x"}]
    write = [ask(1, "x"), answer(1)]
    assert heard(*early, *write, *saw).wrong_reads() == []
    assert heard(*early, *saw, *write).wrong_reads() != []


def test_a_new_life_begins_with_what_was_found() -> None:
    model = heard(ask(1, "x"))
    model.settle({KEY: "x"})
    assert model.allowed(KEY) == {"x"}
