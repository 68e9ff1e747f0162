"""The whole life of objects on the command line, without a server and against one: the same, word for word."""

from __future__ import annotations

import hashlib

import pytest

from tests.doors.cli_tools import Place, noise

pytestmark = pytest.mark.doors


@pytest.fixture
def bucket(place: Place, name: str) -> str:
    place.run("mb", name)
    return name


KEYS = [
    "plain.txt",
    "with space & sign.txt",
    "a/b/c/deep.bin",
    "a//b",
    "/leading",
    "trailing/",
    "ünïcödé/日本語.txt",
    "🐈.png",
    "per%2fcent%41",
    "plus+and?question#hash",
    "back\\slash",
    "CON",
    "dots...",
    "quote\"and'quote",
    "x" * 1024,
]


def test_what_is_put_comes_back_under_any_key(place: Place, bucket: str) -> None:
    made = {}
    for key in KEYS:
        data = noise(3000, seed=len(key))
        put = place.run("put", "-", f"{bucket}/{key}", "--json", stdin=data).records[0]
        assert (put["key"], put["size"], put["sha256"]) == (key, 3000, hashlib.sha256(data).hexdigest())
        made[key] = (data, put["version_id"])
    names = [f"{bucket}/{key}" for key in made]
    assert place.run("cat", *names).raw == b"".join(data for data, _ in made.values())
    listed = place.run("ls", "-r", bucket, "--json").records
    assert [(item["key"], item["size"], item["version_id"]) for item in listed] == [
        (key, 3000, made[key][1]) for key in sorted(made, key=str.encode)
    ]
    assert [item["key"] for item in place.run("stat", *names, "--json").records] == list(made)
    for key in ("ünïcödé/日本語.txt", "a//b"):
        place.run("get", f"{bucket}/{key}", "file")
        assert (place.folder / "file").read_bytes() == made[key][0]
    place.run("rm", *names)
    assert place.run("ls", "-r", bucket).out == ""


def test_a_folder_goes_up_and_comes_down_unchanged(place: Place, bucket: str) -> None:
    files = {"one.txt": b"1", "empty": b"", "sub/two.bin": noise(100_000), "sub/deeper/drei-ü.txt": b"3"}
    for name, data in files.items():
        path = place.folder / "up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (place.folder / "up" / "link").symlink_to("/etc/passwd")
    put = place.run("put", "-r", "up", f"{bucket}/stuff", "--json").records
    assert sorted(item["key"] for item in put) == sorted(f"stuff/{name}" for name in files)
    place.run("get", "-r", f"{bucket}/stuff", "down")
    found = {
        p.relative_to(place.folder / "down").as_posix(): p.read_bytes()
        for p in (place.folder / "down").rglob("*")
        if p.is_file()
    }
    assert found == files


def test_several_files_keep_their_names(place: Place, bucket: str) -> None:
    for name in ("a.txt", "b.txt"):
        (place.folder / name).write_text(name)
    place.run("put", "a.txt", "b.txt", f"{bucket}/in/")
    place.run("put", "a.txt", bucket)
    place.run("put", "a.txt", f"{bucket}/renamed")
    assert place.run("ls", "-r", bucket).out.split() == ["a.txt", "in/a.txt", "in/b.txt", "renamed"]


def test_ls_shows_a_folder_view(place: Place, bucket: str) -> None:
    for key in ("a.txt", "b/1", "b/2", "b/c/3", "b.txt"):
        place.run("put", "-", f"{bucket}/{key}", stdin=key.encode())
    assert place.run("ls", bucket).out.splitlines() == ["a.txt", "b.txt", "b/"]
    assert place.run("ls", f"{bucket}/b").out.splitlines() == ["1", "2", "c/"]
    assert place.run("ls", f"{bucket}/b/").out.splitlines() == ["1", "2", "c/"]
    assert place.run("ls", "-r", f"{bucket}/b").out.splitlines() == ["1", "2", "c/3"]
    assert place.run("ls", bucket, "--prefix", "b").out.splitlines() == ["b.txt", "b/"]
    assert place.run("ls", f"{bucket}/a.txt").out.splitlines() == ["a.txt"]
    assert place.run("ls", f"{bucket}/b", "--json").records[2] == {"bucket": bucket, "prefix": "b/c/"}
    long = place.run("ls", "-l", bucket).out.splitlines()
    assert long[0].split()[:2] == ["5", "B"]
    assert long[0].endswith("  a.txt")
    assert place.run("ls", f"{bucket}/nothing", status=3).out == ""


def test_stat_tells_what_is_known(place: Place, bucket: str) -> None:
    place.run(
        "put",
        "-",
        f"{bucket}/cat.png",
        "--meta",
        "camera=none ü",
        "--tag",
        "class=pet",
        "--content-type",
        "image/png",
        stdin=b"meow",
    )
    facts = place.run("stat", f"{bucket}/cat.png", "--json").records[0]
    assert facts["size"] == 4
    assert facts["content_type"] == "image/png"
    assert facts["metadata"] == {"camera": "none ü"}
    assert facts["tags"] == {"class": "pet"}
    assert facts["etag"] == hashlib.md5(b"meow").hexdigest()
    assert facts["sha256"] == hashlib.sha256(b"meow").hexdigest()
    assert facts["checksum_type"] == "FULL_OBJECT"
    shown = place.run("stat", f"{bucket}/cat.png").out
    assert f"object:        {bucket}/cat.png\n" in shown
    assert "meta camera:   none ü" in shown


def test_ranges_flow_to_standard_output(place: Place, bucket: str) -> None:
    place.run("put", "-", f"{bucket}/digits", stdin=b"0123456789")
    for wish, expected in (("0-2", b"012"), ("7-", b"789"), ("-2", b"89"), ("5-500", b"56789")):
        assert place.run("cat", f"{bucket}/digits", "--range", wish).raw == expected
    assert place.run("cat", f"{bucket}/digits", f"{bucket}/digits").raw == b"0123456789" * 2
    place.run("cat", f"{bucket}/digits", "--range", "10-", status=8)
    place.run("cat", f"{bucket}/digits", "--range", "x", status=7)


def test_versions_are_kept_and_can_be_brought_back(place: Place, bucket: str) -> None:
    kept = bucket + "-kept"
    place.run("mb", kept, "--versioning")
    for text in (b"one", b"two"):
        place.run("put", "-", f"{kept}/doc", stdin=text)
    place.run("put", "-", f"{kept}/doc2", stdin=b"other")
    place.run("rm", f"{kept}/doc")
    place.run("stat", f"{kept}/doc", status=3)
    found = place.run("versions", f"{kept}/doc", "--json").records
    assert [(item["size"], item["delete_marker"], item["current"]) for item in found] == [
        (0, True, True),
        (3, False, False),
        (3, False, False),
    ]
    assert len(place.run("versions", kept).out.splitlines()) == 4
    oldest = found[-1]["version_id"]
    assert place.run("cat", f"{kept}/doc", "--version-id", oldest).raw == b"one"
    place.run("get", f"{kept}/doc", "old", "--version-id", oldest)
    assert (place.folder / "old").read_bytes() == b"one"
    place.run("rm", f"{kept}/doc", "--version-id", found[0]["version_id"])
    assert place.run("cat", f"{kept}/doc").raw == b"two"
    place.run("cp", f"{kept}/doc", f"{kept}/back", "--version-id", oldest)
    assert place.run("cat", f"{kept}/back").raw == b"one"
    place.run("versions", f"{kept}/never", status=3)


def test_copies_carry_what_is_known(place: Place, bucket: str) -> None:
    place.run("put", "-", f"{bucket}/a", "--meta", "k=v", "--content-type", "text/x-a", stdin=b"bytes")
    copied = place.run("cp", f"{bucket}/a", f"{bucket}/b/", "--json").records[0]
    assert (copied["key"], copied["size"]) == ("b/a", 5)
    facts = place.run("stat", f"{bucket}/b/a", "--json").records[0]
    assert (facts["content_type"], facts["metadata"]) == ("text/x-a", {"k": "v"})
    place.run("cp", "-r", f"{bucket}/b", f"{bucket}/c")
    assert place.run("cat", f"{bucket}/c/a").raw == b"bytes"
    place.run("cp", f"{bucket}/a", f"{bucket}/b/a", "--if-absent", status=5)
    place.run("cp", "-r", f"{bucket}/b", f"{bucket}/b/inside", status=7)
    place.run("cp", "-r", f"{bucket}/nothing", f"{bucket}/x", status=3)


def test_dry_runs_remove_nothing(place: Place, bucket: str) -> None:
    kept = bucket + "-kept"
    place.run("mb", kept, "--versioning")
    for name in (bucket, kept):
        for key in ("a", "f/1", "f/2"):
            place.run("put", "-", f"{name}/{key}", stdin=b"x")
    before = [place.run("versions", name, "--json").out for name in (bucket, kept)]
    told = place.run("rm", "-r", f"{bucket}/f", "--dry-run", "--json").records
    assert [(item["key"], item["dry_run"]) for item in told] == [("f/1", True), ("f/2", True)]
    assert "would remove" in place.run("rm", f"{bucket}/a", "-n").out
    place.run("rm", f"{bucket}/never", "-n", status=3)
    place.run("rm", "-r", "--all-versions", kept, "-n")
    version = place.run("stat", f"{kept}/a", "--json").records[0]["version_id"]
    place.run("rm", f"{kept}/a", "--version-id", version, "-n")
    place.run("rb", kept, "--force", "-n")
    assert before == [place.run("versions", name, "--json").out for name in (bucket, kept)]


def test_removal_by_folder_and_by_force(place: Place, bucket: str) -> None:
    kept = bucket + "-kept"
    place.run("mb", kept, "--versioning")
    for key in ("a", "f/1", "f/2", "f2/3"):
        place.run("put", "-", f"{kept}/{key}", stdin=b"x")
    place.run("rm", "-r", f"{kept}/f")
    assert place.run("ls", "-r", kept).out.split() == ["a", "f2/3"]
    place.run("rb", kept, status=6)
    place.run("rm", "-r", "--all-versions", f"{kept}/f")
    assert "f/1" not in place.run("versions", kept).out
    place.run("rb", kept, "--force")
    assert kept not in place.run("ls").out
    assert place.run("rm", f"{bucket}/never").out.startswith("was not there")


def test_buckets_are_listed_with_what_they_hold(place: Place, bucket: str) -> None:
    place.run("put", "-", f"{bucket}/a", stdin=b"12345")
    row = next(item for item in place.run("ls", "--json").records if item["bucket"] == bucket)
    assert (row["objects"], row["bytes"], row["versioning"]) == (1, 5, False)
    assert place.run("mb", bucket, "--if-absent").status == 0
    place.run("mb", bucket, status=4)
    place.run("rb", bucket, status=6)
    place.run("rm", f"{bucket}/a")
    place.run("rb", bucket)
    place.run("rb", bucket, status=3)


def test_a_put_that_must_not_replace(place: Place, bucket: str) -> None:
    place.run("put", "-", f"{bucket}/a", "--if-absent", stdin=b"first")
    place.run("put", "-", f"{bucket}/a", "--if-absent", stdin=b"second", status=5)
    assert place.run("cat", f"{bucket}/a").raw == b"first"


def test_one_bad_file_does_not_hide_the_others(place: Place, bucket: str) -> None:
    (place.folder / "good").write_bytes(b"good")
    result = place.run("put", "good", "missing", f"{bucket}/", status=7)
    assert "missing" in result.err
    assert "1 of 2 failed" in result.err
    assert place.run("cat", f"{bucket}/good").raw == b"good"


def test_keys_that_would_leave_the_folder_are_not_written(place: Place, bucket: str) -> None:
    for key in ("ok", "/abs", "a//b"):
        place.run("put", "-", f"{bucket}/d/{key}", stdin=b"x")
    result = place.run("get", "-r", f"{bucket}/d", "down", status=7)
    assert "2 of 3 failed" in result.err
    assert [path.name for path in (place.folder / "down").iterdir()] == ["ok"]


def test_get_leaves_no_half_file(place: Place, bucket: str) -> None:
    (place.folder / "target").write_bytes(b"old")
    place.run("get", f"{bucket}/never", "target", status=3)
    assert (place.folder / "target").read_bytes() == b"old"
    place.run("put", "-", f"{bucket}/a", stdin=b"new")
    place.run("get", f"{bucket}/a", "target")
    assert (place.folder / "target").read_bytes() == b"new"
    place.run("get", f"{bucket}/a", "missing-folder/target", status=7)
    place.run("get", f"{bucket}/a", "/dev/null")
    assert not list(place.folder.glob(".*part"))
