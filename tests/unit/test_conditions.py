"""HTTP preconditions as a table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import PreconditionFailedError

pytestmark = pytest.mark.unit

SECOND = 1_000_000


@dataclass(frozen=True)
class There:
    etag: str = "abc"
    created: int = 100 * SECOND + 700_000


HERE = There()
PASS, FAIL, SAME = "pass", "fail", "not modified"
TABLE = [
    # conditions, current, what a write does, what a read does
    (NO_CONDITIONS, HERE, PASS, PASS),
    (NO_CONDITIONS, None, PASS, None),
    (Preconditions(if_match=("abc",)), HERE, PASS, PASS),
    (Preconditions(if_match=("x", "abc")), HERE, PASS, PASS),
    (Preconditions(if_match=("x",)), HERE, FAIL, FAIL),
    (Preconditions(if_match=("*",)), HERE, PASS, PASS),
    (Preconditions(if_match=("*",)), None, FAIL, None),
    (Preconditions(if_match=("abc",)), None, FAIL, None),
    (Preconditions(if_none_match=("*",)), HERE, FAIL, SAME),
    (Preconditions(if_none_match=("*",)), None, PASS, None),
    (Preconditions(if_none_match=("abc",)), HERE, FAIL, SAME),
    (Preconditions(if_none_match=("x",)), HERE, PASS, PASS),
    (Preconditions(if_modified_since=99 * SECOND), HERE, PASS, PASS),
    (Preconditions(if_modified_since=100 * SECOND), HERE, PASS, SAME),
    (Preconditions(if_modified_since=101 * SECOND), HERE, PASS, SAME),
    (Preconditions(if_unmodified_since=99 * SECOND), HERE, FAIL, FAIL),
    (Preconditions(if_unmodified_since=100 * SECOND), HERE, PASS, PASS),
    (Preconditions(if_unmodified_since=100 * SECOND), None, FAIL, None),
    # RFC 9110 §13.2.2: an ETag condition takes the place of the time condition beside it
    (Preconditions(if_match=("abc",), if_unmodified_since=1 * SECOND), HERE, PASS, PASS),
    (Preconditions(if_none_match=("x",), if_modified_since=200 * SECOND), HERE, PASS, PASS),
    (Preconditions(if_none_match=("abc",), if_modified_since=1 * SECOND), HERE, FAIL, SAME),
    (Preconditions(if_match=("x",), if_none_match=("abc",)), HERE, FAIL, FAIL),
]


@pytest.mark.parametrize(("conditions", "current", "write", "read"), TABLE)
def test_the_table(conditions: Preconditions, current: There | None, write: str, read: str | None) -> None:
    if write == FAIL:
        with pytest.raises(PreconditionFailedError, match="If-"):
            conditions.check_write(current)
    else:
        conditions.check_write(current)
    if current is None or read is None:
        return
    if read == FAIL:
        with pytest.raises(PreconditionFailedError, match="If-"):
            conditions.check_read(current)
    else:
        assert conditions.check_read(current) is (read == PASS)


def test_whether_there_is_any_condition() -> None:
    assert not NO_CONDITIONS
    assert Preconditions(if_match=("a",))
    assert Preconditions(if_none_match=("*",))
    assert Preconditions(if_modified_since=0)
    assert Preconditions(if_unmodified_since=0)
