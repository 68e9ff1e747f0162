"""Syncing decided: pairs, verdicts, patterns, what ETags prove, and what is remembered. No store, no tree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import ConfigError, InvalidRequestError, UnsupportedError
from holdfast.library import dvc
from holdfast.library.syncing import known
from holdfast.library.syncing.etags import MIB, EtagHash
from holdfast.policy.globs import lines, selection
from holdfast.policy.syncing import (
    Item,
    Known,
    Pairing,
    Verdict,
    judge,
    mtime_of,
    mtime_text,
    path_problem,
    too_many,
)

pytestmark = pytest.mark.unit
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=4)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(KEYS, st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12)


def stream(tree: dict[str, tuple[int, int]]) -> list[Item]:
    """Return a tree as it is listed: in byte order."""
    keys = sorted(tree, key=str.encode)
    return [Item(key, tree[key][0], tree[key][1] * 10**9) for key in keys]


def joined(left: list[Item], right: list[Item], step: int) -> Iterator[tuple[Item | None, Item | None]]:
    join = Pairing()
    at = {"left": 0, "right": 0}

    def some(side: str, items: list[Item]) -> list[Item] | None:
        batch = items[at[side] : at[side] + step]
        at[side] += step
        return batch or None

    for _ in range(len(left) + len(right) + 4):
        if join.wants_left:
            join.feed_left(some("left", left))
        if join.wants_right:
            join.feed_right(some("right", right))
        yield from join.pairs()


@given(TREES, TREES, st.integers(1, 5))
def test_after_a_sync_the_trees_are_equal_and_there_is_nothing_more_to_do(
    source: dict[str, tuple[int, int]], target: dict[str, tuple[int, int]], step: int
) -> None:
    def sync() -> int:
        done = 0
        for file, stored in list(joined(stream(source), stream(target), step)):
            if file is None:
                assert stored is not None
                del target[stored.key]
            elif stored is not None and judge(file, stored) is Verdict.SAME:
                continue
            else:
                target[file.key] = source[file.key]
            done += 1
        return done

    sync()
    assert target == source
    assert sync() == 0


def test_a_listing_out_of_order_is_refused_before_anything_looks_gone() -> None:
    join = Pairing()
    join.feed_left([Item("b", 1, 1)])
    with pytest.raises(UnsupportedError, match="byte order"):
        join.feed_left([Item("a", 1, 1)])
    with pytest.raises(UnsupportedError, match="byte order"):
        join.feed_right([Item("a", 1, 1), Item("a", 1, 1)])


@pytest.mark.parametrize(
    ("file", "stored", "knows", "digests", "verdict"),
    [
        (Item("k", 1, 5), Item("k", 2, 5), None, False, Verdict.DIFFERENT),
        (Item("k", 1, 5), Item("k", 1, 5), None, False, Verdict.SAME),
        (Item("k", 1, 5_000), Item("k", 1, 5_999), None, False, Verdict.SAME),
        (Item("k", 1, 5), Item("k", 1, 2_000), None, False, Verdict.DIFFERENT),
        (Item("k", 1, 5), Item("k", 1, None), None, False, Verdict.ASK),
        (Item("k", 1, 5), Item("k", 1, 5), None, True, Verdict.ASK),
        (Item("k", 1, 5, "f"), Item("k", 1, None, "s"), Known("k", "f", "s"), False, Verdict.SAME),
        (Item("k", 1, 5, "f"), Item("k", 1, None, "t"), Known("k", "f", "s"), False, Verdict.ASK),
        (Item("k", 1, 5, "g"), Item("k", 1, None, "s"), Known("k", "f", "s"), False, Verdict.ASK),
        (Item("k", 2, 5, "f"), Item("k", 1, None, "s"), Known("k", "f", "s"), False, Verdict.DIFFERENT),
        (Item("k", 1, 5, ""), Item("k", 1, None, ""), Known("k", "", ""), False, Verdict.ASK),
        (Item("k", 1, 5, "f"), Item("k", 1, None, "s"), Known("k", "f", "s"), True, Verdict.ASK),
    ],
)
def test_verdicts(file: Item, stored: Item, knows: Known | None, digests: bool, verdict: Verdict) -> None:
    assert judge(file, stored, knows, digests=digests) is verdict


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_a_time_is_written_as_it_is_read(mtime: int) -> None:
    assert mtime_of(mtime_text(mtime)) == mtime


@pytest.mark.parametrize("text", ["", None, "x", "1.x", "1e9", "9" * 30, "1.2.3", "٣"])
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert mtime_of(text) is None


def test_times_of_other_programs_and_before_the_epoch_are_read() -> None:
    assert mtime_of("1654365345.123") == 1654365345_123000000
    assert mtime_of("1654365345") == 1654365345_000000000
    assert mtime_of("-1.5") == -1_500000000
    assert mtime_of(mtime_text(-1_500000000)) == -1_500000000


@pytest.mark.parametrize(
    ("key", "possible"),
    [
        ("a/b", True),
        ("ü +%#?.txt", True),
        ("a//b", False),
        ("/a", False),
        ("a/", False),
        ("../a", False),
        ("a/./b", False),
        ("a\nb", False),
        ("a" * 256, False),
        ("a\\..\\b", False),
        ("", False),
    ],
)
def test_what_a_file_can_be_called(key: str, possible: bool) -> None:
    assert (path_problem(key) == "") is possible


@pytest.mark.parametrize(
    ("gone", "there", "share", "refused"),
    [(0, 0, 0.0, False), (1, 2, 0.5, False), (2, 3, 0.5, True), (1, 1, 1.0, False), (1, 1000, 0.0, True)],
)
def test_how_much_may_vanish(gone: int, there: int, share: float, refused: bool) -> None:
    assert too_many(gone, there, share) is refused


@pytest.mark.parametrize(
    ("include", "exclude", "takes", "leaves"),
    [
        ((), ("*.tmp",), ["a.txt", "a.tmp.txt"], ["a.tmp", "d/e/a.tmp", "x.tmp/inside"]),
        ((), ("/a/*.csv",), ["b/a/x.csv", "a/b/x.csv"], ["a/x.csv"]),
        ((), ("a/**/x",), ["b/a/x"], ["a/x", "a/b/x", "a/b/c/x", "a/b/x/y"]),
        ((), ("build/",), ["build", "a/build"], ["build/x", "a/build/x/y"]),
        ((), ("a/**",), ["a", "ab/c"], ["a/b", "a/b/c"]),
        ((), ("*.log", "!keep.log"), ["keep.log", "a/keep.log"], ["x.log"]),
        ((), ("!keep.log", "*.log"), [], ["keep.log"]),
        (("*.csv",), (), ["a.csv", "d/a.csv"], ["a.txt"]),
        (("data/",), ("*.tmp",), ["data/x", "a/data/x"], ["x", "data/x.tmp"]),
        ((), ("a[1].txt", "?.md"), ["a1.txt", "ab.md"], ["a[1].txt", "b.md"]),
        ((), ("ü*",), ["u"], ["über/x"]),
    ],
)
def test_patterns(
    include: tuple[str, ...], exclude: tuple[str, ...], takes: list[str], leaves: list[str]
) -> None:
    chosen = selection(include, exclude)
    assert [key for key in takes if not chosen.takes(key)] == []
    assert [key for key in leaves if chosen.takes(key)] == []


def test_a_folder_is_passed_by_only_when_nothing_in_it_can_be_meant() -> None:
    assert not selection((), ("build/",)).enters("a/build/")
    assert selection((), ("build/", "!build/keep")).enters("build/")
    assert selection((), ("*.tmp",)).enters("a/")


@pytest.mark.parametrize("pattern", ["", "/", "//"])
def test_an_empty_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequestError):
        selection((), (pattern,))


def test_patterns_of_a_file() -> None:
    assert lines("# what git leaves\n*.tmp\n\n !a \n") == ["*.tmp", "!a"]


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 8 * MIB, 20 * MIB + 3])
@pytest.mark.parametrize("part", [5, 8, 16])
def test_an_etag_of_parts_is_proved_or_left_open_never_wrong(size: int, part: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    pieces = [data[at : at + part * MIB] for at in range(0, size, part * MIB)] or [b""]
    sums = [hashlib.md5(piece, usedforsecurity=False).digest() for piece in pieces]
    etag = f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"
    for given_bytes, right in ((data, True), (data[:-1] + b"!", False)):
        check = EtagHash(etag, size)
        for at in range(0, size, 3 * MIB):
            check.update(given_bytes[at : at + 3 * MIB])
        assert check.matches() in ((True, None) if right or not size else (None,))
    whole = EtagHash(hashlib.md5(data, usedforsecurity=False).hexdigest(), size)
    whole.update(data)
    assert whole.matches() is True


def test_what_is_known_is_found_again_in_order(tmp_path: Path) -> None:
    path = tmp_path / "one.known"
    memory = known.Memory(path)
    late = memory.later()
    memory.note("b", "f2", "s2")
    never = memory.later()
    memory.note("d ü", "f4", "s4")
    memory.fill(late, "a", "f1", "s1")
    memory.forget(never)
    memory.note("e", "f5", "a tab\there")
    memory.keep()
    memory.close()
    again = known.Memory(path, write=False)
    assert [again.find(key) for key in ("0", "a", "c", "d ü", "e")] == [
        None,
        Known("a", "f1", "s1"),
        None,
        Known("d ü", "f4", "s4"),
        None,
    ]
    assert [one.name for one in tmp_path.iterdir()] == ["one.known"]


def test_what_was_known_stays_when_a_run_ends_early_and_damage_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "one.known"
    memory = known.Memory(path)
    memory.note("a", "f", "s")
    memory.keep()
    broken = known.Memory(path)
    broken.note("b", "f", "s")
    broken.close()
    assert known.Memory(path, write=False).find("a") == Known("a", "f", "s")
    with path.open("a") as file:
        file.write("b\tf\ts\nc\tf")
    damaged = known.Memory(path, write=False)
    assert damaged.find("b") == Known("b", "f", "s")
    assert damaged.find("c") is None
    path.write_bytes(b"\xff\xfe")
    assert known.Memory(path, write=False).find("a") is None


def test_what_cannot_take_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "one.known"
    (path / "in the way").mkdir(parents=True)
    memory = known.Memory(path)
    memory.note("a", "f", "s")
    memory.keep()
    memory.close()
    assert list(tmp_path.iterdir()) == [path]


COMMITTED = """\
# ours
[core]
    autostage = true   ; kept
['remote "other"']
    url = /mnt/x
['remote "naas"']
    # a comment that stays
    url = s3://old/place
    access_key_id = leaked
"""


def test_it_is_remembered_how_the_listing_went_on(tmp_path: Path) -> None:
    path = tmp_path / "x.known"
    assert list(known.Memory(path, write=False).every(1)) == []
    for by_key in (False, True, True, False):
        memory = known.Memory(path)
        for key in "abcdefg":
            memory.note(key, "f", "s")
        memory.by_key = by_key
        memory.keep()
        again = known.Memory(path, write=False)
        assert again.by_key is by_key
        assert [list(again.every(count)) for count in (3, 7, 8)] == [["c", "f"], ["g"], []]
        assert again.find("a") == Known("a", "f", "s")
    nothing = known.Memory(None)
    assert (nothing.by_key, list(nothing.every(1))) == (False, [])


def test_a_remote_is_brought_up_to_date_and_all_else_stays(tmp_path: Path) -> None:
    folder = tmp_path / ".dvc"
    folder.mkdir()
    (folder / "config").write_text(COMMITTED)
    (folder / ".gitignore").write_text("/tmp")
    (folder / "config.local").write_text("['remote \"naas\"']\n    session_token = old\n    jobs = 4\n")
    (folder / "config.local").chmod(0o644)
    remote = dvc.Remote(
        {"url": "s3://new/dvc", "region": "eu", "endpointurl": None},
        {"access_key_id": "KEY", "secret_access_key": "se#cr,et", "session_token": None},
    )
    for _ in range(2):
        written = dvc.write(folder, "naas", remote)
        text = (folder / "config").read_text()
        assert "leaked" not in text
        assert text == COMMITTED.replace("s3://old/place", "s3://new/dvc").replace(
            "    access_key_id = leaked\n", "    region = eu\n"
        ).replace("= true   ; kept\n", "= true   ; kept\n    remote = naas\n")
        local = (folder / "config.local").read_text()
        assert local == (
            '[\'remote "naas"\']\n    jobs = 4\n    access_key_id = KEY\n    secret_access_key = "se#cr,et"\n'
        )
        assert (folder / "config.local").stat().st_mode & 0o777 == 0o600
        assert (folder / ".gitignore").read_text() == "/tmp\n/config.local\n"
        assert written.default == "naas"
    assert "se#cr" not in repr(remote)
    other = dvc.write(folder, "second", remote)
    assert other.default == "naas"
    assert dvc.write(folder, "second", remote, default=True).default == "second"
    assert dvc.value_of((folder / "config").read_text(), "core", "remote") == "second"


def test_what_dvc_cannot_hold_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        dvc.quoted("a\"b'c")
    assert 'a"b' not in str(refused.value)
    assert dvc.quoted('a"b') == "'a\"b'"
    with pytest.raises(InvalidRequestError):
        dvc.check_name('x"]\n[core')


def test_outside_a_repository_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dvc init"):
        dvc.find(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert dvc.find(inner) == tmp_path / ".dvc"
