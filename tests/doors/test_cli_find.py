"""Finding and tagging on the command line, without a server and against one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doors.cli_tools import Place, embedded

pytestmark = pytest.mark.doors


@pytest.fixture
def bucket(place: Place, name: str) -> str:
    place.run("mb", name)
    for number in range(4):
        place.run(
            *("put", "-", f"{name}/in/{number}.{'png' if number else 'txt'}", "--tag", f"odd={number % 2}"),
            *("--meta", f"n={number}"),
            stdin=b"x" * number * 1024,
        )
    return name


def keys(place: Place, *words: str) -> list[str]:
    return [record["key"] for record in place.run("find", *words, "--json").records]


def test_find(place: Place, bucket: str) -> None:
    assert keys(place, bucket) == ["in/0.txt", "in/1.png", "in/2.png", "in/3.png"]
    assert keys(place, bucket, "--tag", "odd=1") == ["in/1.png", "in/3.png"]
    assert keys(place, bucket, "--tag", "odd=1", "--meta", "n=3") == ["in/3.png"]
    assert keys(place, f"{bucket}/in", "--content-type", "image/*", "--max-size", "2KB") == [
        "in/1.png",
        "in/2.png",
    ]
    assert keys(place, f"{bucket}/i") == []  # a folder, not the beginning of a name
    assert keys(place, bucket, "--suffix", ".txt") == ["in/0.txt"]
    assert keys(place, bucket, "--until", "2020-01-01") == []
    assert len(keys(place, bucket, "--since", "2020-01-01T10:00")) == 4
    assert f"{bucket}/in/0.txt" in place.run("find", "--tag", "odd=0").out
    assert "text/plain" in place.run("find", bucket, "--long", "--suffix", "txt").out


def test_tag(place: Place, bucket: str) -> None:
    changed = place.run("tag", f"{bucket}/in/0.txt", "--set", "a=1", "--unset", "odd", "--json").records[0]
    assert changed["tags"] == {"a": "1"}
    assert changed["metadata"] == {"n": "0"}
    place.run("tag", "-r", f"{bucket}/in", "-s", "all=yes")
    assert len(keys(place, bucket, "--tag", "all=yes")) == 4
    assert keys(place, bucket, "--tag", "all=yes", "--tag", "a=1") == ["in/0.txt"]
    place.run("tag", f"{bucket}/in/0.txt", "--replace", "--content-type", "text/csv", "--meta", "m=2")
    known = place.run("stat", f"{bucket}/in/0.txt", "--json").records[0]
    assert (known["tags"], known["metadata"], known["content_type"]) == ({}, {"m": "2"}, "text/csv")
    assert place.run("get", f"{bucket}/in/1.png", "-").raw == b"x" * 1024


@pytest.mark.parametrize(
    "words",
    [
        ("find", "--tag", "novalue"),
        ("find", "--min-size", "big"),
        ("find", "--since", "yesterday"),
        ("tag", "b/k"),
        ("tag", "b"),
        ("tag", "-r", "b/k", "--set", "a=1", "--version-id", "x"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert embedded(tmp_path).run(*words, status=7).err
