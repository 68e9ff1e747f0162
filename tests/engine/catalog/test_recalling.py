"""What a reader on SQLite remembers: never an answer from before a commit, whoever made it, and nothing that can be spoilt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.catalog.sqlite import SqliteRunner, connect
from holdfast.catalog.statements import Statement
from holdfast.catalog.transaction import Attempt, Steps
from holdfast.core.clock import Environment
from holdfast.core.errors import NotFoundError
from tests.engine.catalog.support import desk_at
from tests.helpers import run

pytestmark = pytest.mark.engine
ASK, ADD = Statement(text("SELECT max(n) FROM t")), Statement(text("UPDATE t SET n = n + 1"))


class Counted:
    """Reads the number in the file, and counts how often SQLite was asked for it."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, attempt: Attempt) -> Steps[int]:
        self.asked += 1
        rows = yield ASK()
        if rows[0][0] < 0:
            raise NotFoundError("there is none")
        return int(rows[0][0])


def add(attempt: Attempt) -> Steps[None]:
    """Add one to the number."""
    yield ADD()


def fail(attempt: Attempt) -> Steps[None]:
    """Add one to the number, then think better of it."""
    yield ADD()
    raise NotFoundError("never mind")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file with one number in it."""
    path = str(tmp_path / "numbers.db")
    connection = connect(path, write=True)
    connection.execute("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)")
    connection.close()
    return path


def elsewhere(path: str) -> None:
    """Add one in another process."""
    line = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE t SET n = n + 1'); c.commit()"
    subprocess.run([sys.executable, "-c", line, path], check=True, timeout=60)


def beside(path: str) -> None:
    """Add one on another connection of this process, and move the log into the file."""
    connection = connect(path, write=True)
    connection.execute("UPDATE t SET n = n + 1")
    connection.pragma("wal_checkpoint(TRUNCATE)")
    connection.close()


def test_what_did_not_change_is_asked_once(path: str) -> None:
    async def story() -> None:
        runner, read = SqliteRunner(path, Environment().clock), Counted()
        assert [await runner.recall("n", read) for _ in range(5)] == [1] * 5
        assert read.asked == 1
        assert await runner.recall("m", read) == 1  # another question
        assert await runner.read(read) == 1  # which is never remembered
        assert read.asked == 3
        await runner.close()

    run(story())


@pytest.mark.parametrize("change", [elsewhere, beside])
def test_a_commit_elsewhere_is_seen_at_once(path: str, change: Callable[[str], None]) -> None:
    async def story() -> None:
        runner, read = SqliteRunner(path, Environment().clock), Counted()
        for number in range(1, 6):
            assert await runner.recall("n", read) == number
            assert await runner.recall("n", read) == number
            change(path)
        assert read.asked == 5
        await runner.close()

    run(story())


def test_a_commit_of_our_own_is_seen_at_once(path: str) -> None:
    async def story() -> None:
        runner, read = SqliteRunner(path, Environment().clock), Counted()
        for number in range(1, 30):
            assert await runner.recall("n", read) == number
            with pytest.raises(NotFoundError):
                await runner.write(fail)
            assert await runner.recall("n", read) == number
            await runner.write(add)
        await runner.close()

    run(story())


def test_what_is_missing_is_not_remembered(path: str) -> None:
    async def story() -> None:
        beside_it = connect(path, write=True)
        beside_it.execute("UPDATE t SET n = -3")
        runner, read = SqliteRunner(path, Environment().clock), Counted()
        for _ in range(3):
            with pytest.raises(NotFoundError):
                await runner.recall("n", read)
            await runner.write(add)
        assert await runner.recall("n", read) == 0
        await runner.close()
        beside_it.close()

    run(story())


def test_memory_is_bounded(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.catalog.sqlite._REMEMBERED", 10)

    async def story() -> None:
        runner, read = SqliteRunner(path, Environment().clock), Counted()
        for number in range(95):
            await runner.recall(number, read)
        assert 0 < len(runner._readers.reader.answers()) <= 10
        await runner.close()

    run(story())


def test_what_one_caller_changes_another_does_not_see(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            await desk.put("k", metadata={"a": "1"}, tags={"b": "2"})
            for _ in range(3):
                located = await desk.catalog.resolve(desk.ref("k"))
                assert located.version.metadata == {"a": "1"}
                assert located.version.tags == {"b": "2"}
                located.version.metadata["a"] = "spoilt"  # type: ignore[index]
                located.version.tags.clear()  # type: ignore[attr-defined]

    run(story())
