"""`push`, `pull`, the Makefile and `dvc setup` as people use them: the real program, real servers, the real DVC."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest

from holdfast.testing import servers
from holdfast.testing.fakes import naas
from holdfast.testing.servers import S3Server
from tests.acceptance.dvc_tool import dvc
from tests.doors.cli_tools import EXECUTABLE, Place, clean_environment, embedded, noise, serving

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
FILES = {"a.txt": b"one", "b/c ü+%.bin": noise(70_000), "b/e": b"", "large": noise(9 << 20, 1)}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with servers.require(servers.rclone_s3) as server:
        yield server


def keys(server: S3Server) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
    }


def make(root: Path, files: dict[str, bytes]) -> Path:
    for key, data in files.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".holdfast-trash" not in path.parts
    }


def there_and_back(place: Place, remote: str) -> None:
    make(place.folder / "source", FILES)
    assert place.run("push", "source", remote, "--json").records[-1]["moved"] == len(FILES)
    assert place.run("pull", remote, "target", "--json").records[-1]["moved"] == len(FILES)
    assert content(place.folder / "target") == FILES
    for command in (("pull", remote, "target"), ("push", "target", remote, "--checksum")):
        end = place.run(*command, "--json").records[-1]
        assert (end["moved"], end["same"]) == (0, len(FILES)), command
    (place.folder / "source" / "a.txt").unlink()
    assert place.run("push", "source", remote, "--delete", "--json").records[-1]["removed"] == 1
    assert place.run("pull", remote, "target", "--delete", "--no-trash", "--json").records[-1]["removed"] == 1
    assert content(place.folder / "target") == {key: data for key, data in FILES.items() if key != "a.txt"}


def test_with_a_bucket_of_this_process(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "files")
    there_and_back(place, "files/in/here")


def test_what_would_be_done_what_is_refused_and_what_failed(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "files")
    source = make(tmp_path / "source", {"a": b"1", "b": b"2", "c": b"3"})
    place.run("push", "source", "files/x")
    (source / "a").unlink()
    assert "would trash  a" in place.run("push", "source", "files/x", "--delete", "-n").out
    refused = place.run("push", "source", "files/x", "--delete", "--max-delete", "10", status=6)
    assert "1 of 3 would be removed, more than 10 %" in refused.err
    os.mkfifo(source / "pipe")
    (source / "new\nline").touch()
    ended = place.run("push", "source", "files/x", status=15)
    assert "is a named pipe" in ended.err
    assert "control character" in ended.err
    assert "1 failed" in ended.out


def test_with_a_bucket_of_a_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        place = server.place(tmp_path)
        place.run("mb", "files")
        there_and_back(place, "files/in/here")


def test_with_a_store_and_no_catalog(tmp_path: Path, s3: S3Server) -> None:
    place = Place(tmp_path, [], {**keys(s3), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    there_and_back(place, f"s3://{s3.bucket}/plain")


def test_keys_are_those_that_other_programs_see(tmp_path: Path, s3: S3Server) -> None:
    place = Place(tmp_path, [], {**keys(s3), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    make(tmp_path / "source", FILES)
    place.run("push", "source", f"s3://{s3.bucket}/seen")
    assert content(s3.data / s3.bucket / "seen") == FILES
    client = boto3.client(
        "s3",
        region_name=s3.region,
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
    )
    client.put_object(Bucket=s3.bucket, Key="theirs/x/y", Body=b"theirs")
    place.run("pull", f"s3://{s3.bucket}/theirs", "target")
    assert content(tmp_path / "target") == {"x/y": b"theirs"}
    assert place.run("pull", f"s3://{s3.bucket}/theirs", "target", "--json").records[-1]["same"] == 1


@pytest.mark.parametrize("way", ["push", "pull"])
def test_a_run_that_is_killed_is_continued_by_the_next(tmp_path: Path, s3: S3Server, way: str) -> None:
    files = {f"{number:03d}": noise(20_000, number) for number in range(60)} | {"large": noise(24 << 20, 99)}
    make(tmp_path / "source", files)
    remote = f"s3://{s3.bucket}/killed-{way}"
    variables = {**keys(s3), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    place = Place(tmp_path, [], variables)
    line = ["push", "source", remote] if way == "push" else ["pull", remote, "target"]
    if way == "pull":
        place.run("push", "source", remote)
    process = subprocess.Popen(
        [EXECUTABLE, *line, "--bandwidth", "4MB", "--jobs", "4", "-v"],
        cwd=tmp_path,
        env=clean_environment(**variables, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    for _ in range(20):
        assert process.stdout.readline()
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    end = place.run(*line, "--json").records[-1]
    assert end["same"] >= 20
    assert end["moved"] == len(files) - end["same"]
    place.run("pull", remote, "whole")
    assert content(tmp_path / "whole") == files
    if way == "pull":
        assert {key: data for key, data in content(tmp_path / "target").items() if key in files} == files


def test_make_keeps_a_folder_in_a_storage_of_naas(tmp_path: Path, s3: S3Server) -> None:
    with naas.running(s3) as fake:
        variables = {
            "NAAS_API_KEY": fake.api_key,
            "NAAS_PYTHON_API_BASE_URL": fake.api_url,
            "NAAS_S3_ENDPOINT_URL": fake.s3_url,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        (tmp_path / "config.yaml").write_text(
            f"config:\n  workspace_id: {fake.workspace_id}\n  storage_name: {fake.storage_name}\n"
        )

        def make_target(target: str) -> str:
            done = subprocess.run(
                ["make", "-f", str(ROOT / "Makefile"), target, f"HOLDFAST={EXECUTABLE}"],
                cwd=tmp_path,
                env=clean_environment(**variables),
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert fake.api_key not in done.stdout + done.stderr
            return done.stdout

        make(tmp_path / "storage", {"a/storage/b": b"1", "c": b"2"})
        (tmp_path / "storage" / "linked").symlink_to("c")
        assert "3 sent" in make_target("storage-push")
        (tmp_path / "storage" / "c").write_bytes(b"changed here, and in the way")
        (tmp_path / "storage").rename(tmp_path / "before")
        assert "3 fetched" in make_target("storage-pull")
        assert content(tmp_path / "storage") == {"a/storage/b": b"1", "c": b"2", "linked": b"2"}
        (tmp_path / "storage" / "linked").unlink()
        assert "1 removed" in make_target("storage-push")
        assert "0 fetched" in make_target("storage-pull")


def run(folder: Path, variables: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [dvc(), *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dvc_works_with_a_storage_of_naas_again_when_its_keys_have_ended_and_with_a_bucket(
    tmp_path: Path, s3: S3Server
) -> None:
    plain = clean_environment(
        HOME=str(tmp_path), DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=str(tmp_path / "site")
    )
    folder = tmp_path / "work"
    folder.mkdir()
    data = noise(1 << 20)
    (folder / "one.bin").write_bytes(data)
    run(folder, plain, "init", "--no-scm", "-q")
    run(folder, plain, "add", "-q", "one.bin")
    config, local = folder / ".dvc" / "config", folder / ".dvc" / "config.local"
    with naas.running(s3) as fake:
        variables = {
            "NAAS_API_KEY": fake.api_key,
            "NAAS_WORKSPACE_ID": fake.workspace_id,
            "NAAS_STORAGE_NAME": fake.storage_name,
            "NAAS_PYTHON_API_BASE_URL": fake.api_url,
            "NAAS_S3_ENDPOINT_URL": fake.s3_url,
        }
        place = Place(folder, [], variables)
        first = place.run("dvc", "setup", "--store", "naas")
        assert "its keys end at" in first.err
        run(folder, plain, "push", "-q")
        before = config.read_text(), local.read_text()
        fake.advance(24 * 3600)
        again = place.run("dvc", "setup", "--store", "naas", "--json")
        assert config.read_text() == before[0]
        assert local.read_text() != before[1]
        assert again.records[0]["default"] is True
        assert local.stat().st_mode & 0o777 == 0o600
        secrets = [line.partition(" = ")[2] for line in local.read_text().splitlines()[1:]]
        assert len(secrets) == 3
        for text in (first.out, first.err, again.out, again.err, config.read_text()):
            assert not any(secret in text for secret in secrets)
        lost(folder)
        run(folder, plain, "pull", "-q")
        assert (folder / "one.bin").read_bytes() == data
    bucket = Place(folder, [], keys(s3))
    told = bucket.run("dvc", "setup", "--bucket", s3.bucket, "--folder", "team/dvc", "--remote", "ours")
    assert "the default remote is naas" in told.err
    run(folder, plain, "push", "-q", "-r", "ours")
    lost(folder)
    run(folder, plain, "pull", "-q", "-r", "ours")
    assert (folder / "one.bin").read_bytes() == data


def lost(folder: Path) -> None:
    """Lose the file, and what DVC keeps of it here."""
    (folder / "one.bin").unlink()
    shutil.rmtree(folder / ".dvc" / "cache")


def test_dvc_works_with_a_folder_of_a_local_store(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "files")
    place.run("dvc", "setup", "--store", "local", "--dir", ".dvc")
    text = (tmp_path / ".dvc" / "config").read_text()
    assert f"url = {tmp_path}/data/objects/dvc" in text
    assert (tmp_path / ".dvc" / ".gitignore").read_text() == "/config.local\n"


def test_dvc_setup_says_what_is_missing(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    assert "dvc init" in place.run("dvc", "setup", "--store", "local", status=19).err
    assert "--store" in place.run("dvc", "setup", status=7).err
    assert "there is no store" in place.run("dvc", "setup", "--store", "nowhere", "--dir", "x", status=19).err
    assert (
        "AWS_ACCESS_KEY_ID"
        in Place(tmp_path, [], {"HOME": str(tmp_path)})
        .run("dvc", "setup", "--bucket", "x", "--dir", ".dvc", status=19)
        .err
    )
    assert not (tmp_path / ".dvc").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("push", ".", "s3://"), "names no s3"),
        (("push", ".", "gs://x/y"), "write bucket/prefix"),
        (("push", "files/x", "./here"), "looks like a directory"),
        (("push", "nowhere", "files/x"), "cannot read"),
        (("push", ".", "files/x", "--trash", "t"), "add --delete"),
        (("push", ".", "files/x", "--delete", "--trash", "t", "--no-trash"), "exclude each other"),
        (("push", ".", "files/x", "--max-delete", "200"), "0 to 100"),
        (("push", ".", "files/x", "--bandwidth", "fast"), "--bandwidth"),
        (("push", ".", "files/x", "--bandwidth", "10"), "Say 10MB, 10KB or 10B, a second"),
        (("archive", "files/", "--older-than", "90"), "Say 90d, 90h or 90s"),
        (("ls", "store:minio/2025"), "only push and pull reach into a store"),
        (("dvc", "setup", "--store", "local", "--dir", "nowhere"), "there is no such directory"),
        (("push", ".", "files/x", "--exclude", "/"), "no pattern"),
        (("push", ".", "files/../x"), "'..'"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    place = embedded(tmp_path)
    place.run("mb", "files")
    assert says in place.run(*arguments, status=7).err


def test_a_pull_of_nothing_says_so(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "files")
    make(tmp_path / "tree", FILES)
    place.run("push", "tree", "files/x")
    told = place.run("pull", "files/x/a.txt", "out")
    assert "there is nothing in files/x/a.txt; of one object: holdfast get" in told.err
    assert "there is nothing" not in place.run("pull", "files/x", "out", "--exclude", "*").err
    assert "nor" not in place.run("pull", "files", "none").err
