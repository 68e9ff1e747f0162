"""The container files: linted, and their start commands run here as they are written, only without the containers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from holdfast.testing.servers import free_port
from tests.helpers import noise
from tests.servers_postgres import postgres

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


# -- reading them -------------------------------------------------------------------------------------------------------
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines if line.strip()]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    start = max(index for index, (name, _) in enumerate(every) if name == "FROM")
    return every[start:]


def image_environment() -> dict[str, str]:
    pairs = [
        pair.partition("=") for name, text in last_stage() if name == "ENV" for pair in shlex.split(text)
    ]
    return {name: value for name, _, value in pairs}


def exec_form(instruction: str) -> list[str]:
    (text,) = [text for name, text in last_stage() if name == instruction]
    return list(json.loads(text[text.index("[") :]))


# -- lint -----------------------------------------------------------------------------------------------------------------
def test_the_dockerfile_has_no_lint() -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--format", "json", "--failure-threshold", "style", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout) == []
    assert done.returncode == 0


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN cd /tmp && apt-get install curl\n")
    done = subprocess.run([BIN / "hadolint", tmp_path / "Dockerfile"], capture_output=True, check=False)
    assert done.returncode != 0


def _check_compose(path: Path) -> int:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_the_compose_file_fits_the_specification(tmp_path: Path) -> None:
    assert _check_compose(ROOT / "compose.yaml") == 0
    broken = {**COMPOSE, "services": {**SERVICES, "storage": {**SERVICES["storage"], "restrat": "always"}}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(broken))
    assert _check_compose(tmp_path / "compose.yaml") != 0


# -- what they promise ------------------------------------------------------------------------------------------------------
def test_the_image_runs_as_nobody_special_and_ends_gracefully() -> None:
    stage = dict(last_stage())
    user = stage["USER"].partition(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(stage["VOLUME"]) == [image_environment()["HOLDFAST_DATA"]]
    assert stage["EXPOSE"] == image_environment()["HOLDFAST_PORT"]
    assert exec_form("ENTRYPOINT") == ["holdfast"]  # exec form: signals reach the service
    assert all("latest" not in text and ":" in text for name, text in instructions() if name == "FROM")


def test_every_package_is_pinned_by_hash() -> None:
    installs = [
        part
        for name, text in instructions()
        if name == "RUN"
        for part in text.split("&&")
        if "pip install" in part
    ]
    assert installs
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_what_the_image_copies_goes_to_the_builder_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for name, text in instructions()
        if name == "COPY" and not text.startswith("--from")
        for source in text.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_no_password_is_written_down(tmp_path: Path) -> None:
    for name, service in SERVICES.items():
        assert ":latest" not in service["image"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        for variable in service.get("environment", {}):
            secret = re.search(r"PASSWORD|SECRET|KEY|TOKEN|ROOT_USER|CATALOG", variable)
            assert not secret or variable.endswith("_FILE"), variable
    made = made_secrets(tmp_path)
    for secret in COMPOSE["secrets"].values():
        path = made.parent.parent / secret["file"]
        assert len(path.read_text()) >= 16
        assert path.stat().st_mode & 0o777 == 0o644
    assert made.stat().st_mode & 0o777 == 0o700
    before = {path.name: path.read_text() for path in made.iterdir()}
    subprocess.run([made.parent / "make-secrets"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in made.iterdir()} == before
    again = made_secrets(tmp_path / "again")
    assert all(path.read_text() != before[path.name] for path in again.iterdir())


def test_only_loopback_is_published_unless_asked() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["storage"]
    assert published["storage"] == ["${HOLDFAST_PUBLISH:-127.0.0.1:8083}:8083"]


# -- running them -----------------------------------------------------------------------------------------------------------
def made_secrets(folder: Path) -> Path:
    """Make the secrets as an operator does, in a copy; return their directory."""
    (folder / "deploy").mkdir(parents=True)
    for name in ("make-secrets", "holdfast.toml"):
        shutil.copy(ROOT / "deploy" / name, folder / "deploy" / name)
    subprocess.run([folder / "deploy" / "make-secrets"], check=True, capture_output=True)
    return folder / "deploy" / "secrets"


def with_defaults(text: str) -> str:
    """`${NAME:-value}` as compose reads it when nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


async def _own_database(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = 'holdfast'"):
            await connection.execute("CREATE ROLE holdfast LOGIN")
        await connection.execute(f'ALTER DATABASE "{url.rpartition("/")[2]}" OWNER TO holdfast')
    finally:
        await connection.close()


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        started = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=log.parent)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def object_server(folder: Path, secrets: Path, port: int) -> Iterator[None]:
    """The S3 server: compose's own command where MinIO is installed, else rclone with the same keys and bucket."""
    minio = os.environ.get("HOLDFAST_MINIO") or shutil.which("minio")
    objects = folder / "objects"
    objects.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    if minio:
        (folder / "bin").mkdir()
        (folder / "bin" / "minio").symlink_to(minio)
        environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
        for name, value in SERVICES["minio"]["environment"].items():
            environment[name] = value.replace("/run/secrets", str(secrets))
        command = [*SERVICES["minio"]["entrypoint"], *SERVICES["minio"]["command"]]
        command[-1] = (
            command[-1]
            .replace("/data", str(objects))
            .replace(":9000", f"127.0.0.1:{port}")
            .replace("127.0.0.1:9001", f"127.0.0.1:{free_port()}")
        )
    else:
        (objects / "holdfast").mkdir()
        keys = f"{(secrets / 'minio_user').read_text()},{(secrets / 'minio_password').read_text()}"
        command = [
            *(str(BIN / "rclone"), "serve", "s3", "--config", os.devnull),
            *("--addr", f"127.0.0.1:{port}", "--auth-key", keys, str(objects)),
        ]
    with process(command, environment, folder / "objects.log") as server:
        wait_for(lambda: answers(port), server, folder / "objects.log")
        yield


def answers(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(ready: Any, server: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)


def service_environment(folder: Path, secrets: Path, port: int, s3_port: int) -> dict[str, str]:
    """What the container would get, with its places and addresses exchanged for ours."""
    config = folder / "holdfast.toml"
    config.write_text(
        (secrets.parent / "holdfast.toml")
        .read_text()
        .replace("http://minio:9000", f"http://127.0.0.1:{s3_port}")
        .replace("/run/secrets", str(secrets))
        .replace("0.0.0.0", "127.0.0.1")
    )
    target = COMPOSE["services"]["storage"]["configs"][0]["target"]
    given = {**image_environment(), **SERVICES["storage"]["environment"]}
    ours = {name: with_defaults(str(value)) for name, value in given.items()}
    for name, value in ours.items():
        value = value.replace("/run/secrets", str(secrets)).replace(target, str(config))
        ours[name] = value.replace("/opt/holdfast/bin", str(BIN)).replace("$PATH", os.environ["PATH"])
    return {
        **ours,
        "HOLDFAST_HOST": "127.0.0.1",
        "HOLDFAST_PORT": str(port),
        "HOLDFAST_DATA": str(folder / "data"),
    }


def call(port: int, method: str, path: str, token: str, body: bytes | None = None) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header(
        "Content-Type", "application/json" if path.endswith("buckets") else "application/x-test"
    )
    with opener.open(request, timeout=30) as answer:
        return answer.status, answer.read()


def test_the_start_commands_work(tmp_path: Path) -> None:
    secrets = made_secrets(tmp_path)
    for path in secrets.iterdir():
        path.chmod(0o600)  # outside /run/secrets, files that others can read are refused
    port, s3_port = free_port(), free_port()
    content = noise(300_000)
    with postgres() as database, object_server(tmp_path, secrets, s3_port):
        asyncio.run(_own_database(database))
        place = database.partition("@")[2]
        url = (secrets / "catalog_url").read_text()
        assert url.endswith("@postgres:5432/holdfast")
        (secrets / "catalog_url").write_text(url.replace("postgres:5432/holdfast", place))
        environment = service_environment(tmp_path, secrets, port, s3_port)
        command = [*exec_form("ENTRYPOINT"), *exec_form("CMD")]
        command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
        log = tmp_path / "service.log"
        with process(command, environment, log) as service:
            checks = [SERVICES["storage"]["healthcheck"]["test"][1:], exec_form("HEALTHCHECK")]
            wait_for(lambda: checked(checks[0], environment), service, log)
            assert checked(checks[1], environment)
            found = re.search(r"shown only this once:\s+(\S+)", log.read_text())
            assert found, log.read_text()
            token = found[1]
            assert call(port, "POST", "/api/v1/buckets", token, b'{"name": "photos"}')[0] == 201
            assert call(port, "PUT", "/api/v1/objects/photos/a/b.bin", token, content)[0] == 201
            assert call(port, "GET", "/api/v1/objects/photos/a/b.bin", token) == (200, content)
            held = [path for path in (tmp_path / "objects" / "holdfast").rglob("*") if path.is_file()]
            assert held  # the bytes are in the S3 server's bucket
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
            assert not checked(checks[1], environment)
        for path in secrets.iterdir():
            assert path.read_text() not in log.read_text(), path.name


def checked(command: list[str], environment: dict[str, str]) -> bool:
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    done = subprocess.run([program, *command[1:]], env=environment, capture_output=True, check=False)
    return done.returncode == 0
