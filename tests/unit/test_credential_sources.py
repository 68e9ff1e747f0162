"""Keys from a command, a URL, a file and a web identity: what is understood, what is refused, and what is never shown."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from holdfast.backends._credentials import Credentials, fetch_of, keys_of
from holdfast.backends.object_store import S3Settings
from holdfast.backends.object_store.credentials import EnvironmentCredentials
from holdfast.backends.object_store.sources import source_of
from holdfast.core import errors
from holdfast.core.clock import Environment, ManualClock
from holdfast.testing.proxy import Hole, Proxy

pytestmark = pytest.mark.unit

SECRET = "canary-secret-4711"
T = TypeVar("T")
AWS = {"AccessKeyId": "AK", "SecretAccessKey": SECRET, "Token": "tok"}
NAMES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ROLE_ARN")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


def settings(kind: str, **more: Any) -> S3Settings:
    return S3Settings.model_validate({"bucket": "b", "credentials": kind, **more})


def environment() -> Environment:
    return Environment(clock=ManualClock())


async def fetched(kind: str, at: Environment | None = None, tenant: str = "", **more: Any) -> Credentials:
    return await source_of(
        "s", settings(kind, **more), environment=at or environment(), tenant=tenant
    ).current()


def refused(kind: type[errors.HoldfastError], work: Coroutine[Any, Any, Any]) -> str:
    """Return the message, after having looked that no secret is anywhere in the error."""
    with pytest.raises(kind) as caught:
        run(work)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    return str(caught.value)


# -- what an answer says -------------------------------------------------------------------------------------------
NOW = 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("document", "token", "expires"),
    [
        (AWS | {"Expiration": "2023-11-14T23:13:20Z"}, "tok", NOW + 3600_000_000),
        (AWS | {"Expiration": "2023-11-15 00:13:20+0100"}, "tok", NOW + 3600_000_000),
        (AWS | {"expires_at": 1_700_003_600}, "tok", NOW + 3600_000_000),
        (AWS | {"expires_at": "1700003600000"}, "tok", NOW + 3600_000_000),
        ({"Version": 1, "AccessKeyId": "AK", "SecretAccessKey": SECRET, "SessionToken": "tok"}, "tok", None),
        (
            {
                "lease_duration": 60,
                "data": {"access_key": "AK", "secret_key": SECRET, "security_token": None},
            },
            None,
            NOW + 60_000_000,
        ),
        ({"aws_access_key_id": "AK", "aws_secret_access_key": SECRET}, None, None),
    ],
)
def test_the_usual_forms_are_understood(document: Any, token: str | None, expires: int | None) -> None:
    found = keys_of(document, {}, now=NOW, what="x")
    assert found == Credentials("AK", SECRET, token, expires)
    assert SECRET not in repr(found)
    assert "tok" not in repr(found)


@pytest.mark.parametrize("lasts", [float("inf"), 1e300, 10**400])
def test_keys_that_last_for_ever_are_fetched_again_some_day(lasts: Any) -> None:
    found = keys_of(AWS | {"expires_in": lasts}, {}, now=NOW, what="x")
    assert found.expires is not None
    assert NOW < found.expires < NOW + 20 * 366 * 86_400_000_000


def test_variables_and_settings_hold_nothing_that_no_request_can_carry() -> None:
    variables = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}
    assert "printable ASCII" in refused(errors.ConfigError, EnvironmentCredentials(variables).current())
    with pytest.raises(ValidationError, match="printable ASCII"):
        S3Settings(
            bucket="bbb", access_key="AK", secret_key=SecretStr("é"), endpoint="https://s3.example.org"
        )


def test_fields_say_where_things_are() -> None:
    document = {"a": {"b": "AK", "c": SECRET, "d": "tok", "e": 1_700_000_060}, "AccessKeyId": "another"}
    fields = {"access_key": "a.b", "secret_key": "a.c", "token": "a.d", "expires": "a.e"}
    assert keys_of(document, fields, now=NOW, what="x") == Credentials("AK", SECRET, "tok", NOW + 60_000_000)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"AccessKeyId": "AK"}, "secret_key"),
        ({"SecretAccessKey": SECRET}, "access_key"),
        (AWS | {"Expiration": "2023-11-14T22:13:20Z"}, "ended already"),
        (AWS | {"Expiration": f"{SECRET} o'clock"}, "cannot be read"),
        (AWS | {"Expiration": 10**30}, "cannot be read"),
        (AWS | {"AccessKeyId": "AK\r\nX-Evil: 1"}, "printable ASCII"),
        (AWS | {"SecretAccessKey": f"{SECRET}\0"}, "printable ASCII"),
        (AWS | {"SessionToken": "\ud800"}, "printable ASCII"),
        (AWS | {"SessionToken": "schlüssel"}, "printable ASCII"),
    ],
)
def test_what_is_missing_or_over_is_refused(document: Any, said: str) -> None:
    async def look() -> None:
        keys_of(document, {}, now=NOW, what="x")

    assert said in refused(errors.UnauthenticatedError, look())


# -- a command -----------------------------------------------------------------------------------------------------
def program(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_prints_keys_and_no_shell_sees_its_arguments(tmp_path: Path) -> None:
    code = "import json, sys; print(json.dumps({'Version': 1, 'AccessKeyId': sys.argv[1], 'SecretAccessKey': 's'}))"
    odd = f"$(touch {tmp_path}/made); `id` {{tenant}}"
    found = run(fetched("command", tenant="acme", credentials_command=[*program(code), odd]))
    assert found == Credentials(odd.replace("{tenant}", "acme"), "s")
    assert not list(tmp_path.iterdir())


def test_a_command_may_be_one_text() -> None:
    assert settings("command", credentials_command="get-keys --for 'a b'").credentials_command == (
        "get-keys",
        "--for",
        "a b",
    )
    assert settings("command", credentials_command='["a", "b c"]').credentials_command == ("a", "b c")


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (
            f"import sys; print('{SECRET}', file=sys.stderr); sys.exit(3)",
            errors.UnauthenticatedError,
            "status 3",
        ),
        (f"print('{SECRET}')", errors.UnauthenticatedError, "JSON"),
        (f"print('[\"{SECRET}\"]')", errors.UnauthenticatedError, "JSON"),
        ("print('{' + ' ' * 100_000 + '}')", errors.UnauthenticatedError, ""),
        ("while True: print('x' * 4096)", errors.UnauthenticatedError, ""),
    ],
)
def test_a_command_that_fails_is_told_without_what_it_said(
    code: str, kind: type[errors.HoldfastError], said: str
) -> None:
    assert said in refused(kind, fetched("command", credentials_command=program(code)))


def test_a_missing_command_is_a_mistake_in_the_settings() -> None:
    assert "cannot be started" in refused(
        errors.ConfigError, fetched("command", credentials_command=["/no/such/program"])
    )


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); open({str(note)!r}, 'w').write(str(c.pid)); c.wait()"
    story = fetched("command", credentials_command=program(code), credentials_timeout=1.5)
    assert "did not end" in refused(errors.UnavailableError, story)
    child = int(note.read_text())
    for _ in range(200):  # killed it is already; it may not have died yet
        if not _alive(child):
            break
        time.sleep(0.01)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# -- a file --------------------------------------------------------------------------------------------------------
def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_profiles_are_read(tmp_path: Path) -> None:
    text = f"""[default]
aws_access_key_id = nobody
aws_secret_access_key = x
[acme]
aws_access_key_id = AK
aws_secret_access_key = {SECRET}%1
aws_session_token = tok
"""
    path = private(tmp_path / "credentials", text)
    how = {"credentials_file": path, "credentials_profile": "{tenant}"}
    assert run(fetched("file", tenant="acme", **how)) == Credentials("AK", f"{SECRET}%1", "tok")
    assert "no profile 'other'" in refused(errors.ConfigError, fetched("file", tenant="other", **how))


def test_a_file_is_read_again_when_it_changes_and_a_lost_one_keeps_the_keys(tmp_path: Path) -> None:
    async def story() -> None:
        at = environment()
        assert isinstance(at.clock, ManualClock)
        path = private(tmp_path / "keys.json", json.dumps(AWS | {"AccessKeyId": "one"}))
        source = source_of("s", settings("file", credentials_file=path), environment=at)
        first = await source.current()
        private(path, json.dumps(AWS | {"AccessKeyId": "two, longer"}))
        assert await source.current() is first  # looked at once a second
        at.clock.advance(1)
        assert (await source.current()).access_key == "two, longer"
        path.unlink()
        at.clock.advance(2)
        assert (await source.current()).access_key == "two, longer"

    run(story())


@pytest.mark.parametrize(
    ("text", "mode", "kind", "said"),
    [
        (json.dumps(AWS), 0o644, errors.ConfigError, "chmod 600"),
        ("a\nb", 0o600, errors.UnauthenticatedError, "neither JSON nor profiles"),
        (f"{{{SECRET}", 0o600, errors.UnauthenticatedError, "JSON"),
        (" " * 70_000, 0o600, errors.ConfigError, "larger"),
        (None, 0, errors.ConfigError, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, text: str | None, mode: int, kind: type[errors.HoldfastError], said: str
) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    assert said in refused(kind, fetched("file", credentials_file=path))


# -- a URL ---------------------------------------------------------------------------------------------------------
Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("how", "header", "value"),
    [
        ({}, "Authorization", None),
        ({"credentials_token": "t0"}, "Authorization", "Bearer t0"),
        ({"credentials_form": "vault", "credentials_token": "t0"}, "X-Vault-Token", "t0"),
        ({"credentials_form": "container", "credentials_token": "t0"}, "Authorization", "t0"),
        ({"credentials_header": "X-Mine", "credentials_token": "t0"}, "X-Mine", "t0"),
    ],
)
def test_the_token_is_shown_as_the_form_wants_it(how: dict[str, str], header: str, value: str | None) -> None:
    async def story() -> None:
        async def answer(request: web.Request) -> web.Response:
            assert request.headers.get(header) == value
            assert request.raw_path == "/keys/acme?x=1"
            return web.json_response(AWS)

        async with served(answer) as base:
            url = f"{base}/keys/{{tenant}}?x=1"
            assert (await fetched("url", tenant="acme", credentials_url=url, **how)).access_key == "AK"

    run(story())


def test_the_token_file_is_read_each_time(tmp_path: Path) -> None:
    async def story() -> list[str]:
        seen: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            seen.append(request.headers["Authorization"])
            return web.json_response(AWS)

        async with served(answer) as base:
            file = tmp_path / "token"
            how = settings("url", credentials_url=base, credentials_token_file=file)
            fetch = fetch_of("url", how, store="s", environment=environment())
            for text in ("one\n", "two"):
                file.write_text(text)
                await fetch()
        return seen

    assert run(story()) == ["Bearer one", "Bearer two"]


def test_the_endpoints_of_containers_are_found_by_their_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async def answer(request: web.Request) -> web.Response:
            assert request.headers["Authorization"] == "from a file"
            return web.json_response(AWS)

        (tmp_path / "token").write_text("from a file\n")
        async with served(answer) as base:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{base}/v1/credentials")
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
            assert (await fetched("url", credentials_form="container")).token == "tok"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example.org/")
        with pytest.raises(errors.ConfigError, match="no address"):
            await fetched("url", credentials_form="container")
        monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        with pytest.raises(errors.ConfigError, match="credentials_url"):
            await fetched("url", credentials_form="container")

    run(story())


def test_the_metadata_of_a_machine_is_asked_in_three_steps() -> None:
    async def story() -> None:
        asked = []

        async def answer(request: web.Request) -> web.Response:
            asked.append((request.method, request.path))
            if request.method == "PUT":
                assert request.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
                return web.Response(text="session")
            assert request.headers["X-aws-ec2-metadata-token"] == "session"
            return web.Response(text="my-role") if request.path.endswith("/") else web.json_response(AWS)

        async with served(answer) as base:
            found = await fetched("url", credentials_form="imds", credentials_url=base)
        assert found.access_key == "AK"
        keys = "/latest/meta-data/iam/security-credentials/"
        assert asked == [("PUT", "/latest/api/token"), ("GET", keys), ("GET", f"{keys}my-role")]

    run(story())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, errors.UnauthenticatedError),
        (302, errors.ConfigError),
        (400, errors.UnauthenticatedError),
        (401, errors.UnauthenticatedError),
        (403, errors.PermissionDeniedError),
        (404, errors.ConfigError),
        (429, errors.RateLimitedError),
        (503, errors.UnavailableError),
    ],
)
def test_a_refusal_has_its_kind_and_shows_nothing_of_the_answer(
    status: int, kind: type[errors.HoldfastError]
) -> None:
    async def story() -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, text=SECRET, headers={"Retry-After": "7"})

        async with served(answer) as base:
            await fetched("url", credentials_url=base, credentials_token=SECRET)

    refused(kind, story())


def test_a_silent_or_endless_server_is_given_up() -> None:
    async def silent() -> None:
        async with Proxy("127.0.0.1", 9, default=Hole()) as proxy:
            await fetched("url", credentials_url=proxy.url, credentials_timeout=0.2)

    async def endless() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            made = web.StreamResponse()
            await made.prepare(request)
            for _ in range(40):
                await made.write(b"x" * 4096)
            return made

        async with served(answer) as base:
            await fetched("url", credentials_url=base)

    refused(errors.UnavailableError, silent())
    refused(errors.UnavailableError, endless())


# -- a web identity ------------------------------------------------------------------------------------------------
STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>s&amp;t</SecretAccessKey>
<SessionToken>tok</SessionToken><Expiration>2023-11-14T23:13:20Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def test_sts_gives_keys_for_the_token_of_the_file(tmp_path: Path) -> None:
    async def story() -> None:
        async def answer(request: web.Request) -> web.Response:
            form = await request.post()
            assert form["Action"] == "AssumeRoleWithWebIdentity"
            assert form["Version"] == "2011-06-15"
            assert form["RoleArn"] == "arn:aws:iam::1:role/acme"
            assert form["RoleSessionName"] == "holdfast-acme"
            assert form["WebIdentityToken"] == "jwt"
            return web.Response(text=STS, content_type="text/xml")

        (tmp_path / "jwt").write_text("jwt\n")
        async with served(answer) as base:
            found = await fetched(
                "web-identity",
                tenant="acme",
                credentials_url=base,
                credentials_role="arn:aws:iam::1:role/{tenant}",
                credentials_token_file=tmp_path / "jwt",
            )
        assert found == Credentials("AK", "s&t", "tok", NOW + 3600_000_000)

    run(story())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ExpiredTokenException", errors.UnauthenticatedError),
        (400, "InvalidIdentityToken", errors.UnauthenticatedError),
        (403, "AccessDenied", errors.PermissionDeniedError),
        (400, "Throttling", errors.RateLimitedError),
        (500, "InternalFailure", errors.UnavailableError),
        (200, "", errors.UnauthenticatedError),
    ],
)
def test_what_sts_refuses_has_its_kind(
    tmp_path: Path, status: int, code: str, kind: type[errors.HoldfastError]
) -> None:
    async def story() -> None:
        async def answer(_: web.Request) -> web.Response:
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{SECRET}</Message></Error></ErrorResponse>"
            return web.Response(status=status, text=text)

        (tmp_path / "jwt").write_text(SECRET)
        async with served(answer) as base:
            how = {
                "credentials_url": base,
                "credentials_role": "r",
                "credentials_token_file": tmp_path / "jwt",
            }
            await fetched("web-identity", **how)

    refused(kind, story())


def test_a_web_identity_needs_a_role_and_a_token(tmp_path: Path) -> None:
    assert "credentials_role" in refused(errors.ConfigError, fetched("web-identity"))
    assert "credentials_token_file" in refused(
        errors.ConfigError, fetched("web-identity", credentials_role="r")
    )
    assert "cannot read" in refused(
        errors.ConfigError,
        fetched("web-identity", credentials_role="r", credentials_token_file=tmp_path / "none"),
    )


# -- settings ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("command", {}, "needs credentials_command"),
        ("file", {}, "needs credentials_file"),
        ("url", {}, "needs credentials_url"),
        ("url", {"credentials_url": "http://keys.example.org/"}, "https"),
        ("url", {"credentials_url": f"https://u:{SECRET}@keys.example.org/"}, "like"),
        ("url", {"credentials_url": "https://{tenant}.example.org/"}, "host"),
        ("url", {"credentials_url": "https://k.org/", "credentials_file": "/x"}, "belongs to"),
        ("static", {"access_key": "a", "secret_key": "b", "credentials_command": ["x"]}, "belongs to"),
        (
            "url",
            {
                "credentials_url": "https://k.org/",
                "credentials_token": SECRET,
                "credentials_token_file": "/x",
            },
            "both set",
        ),
        ("file", {"credentials_file": "/x", "credentials_fields": {"password": "x"}}, "knows"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(kind: str, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(kind, **how)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "169.254.170.2", "[fd00:ec2::23]", "[::1]:80"])
def test_keys_may_come_in_the_clear_from_this_machine_and_its_link(host: str) -> None:
    assert settings("url", credentials_url=f"http://{host}/keys").credentials_url


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    how = {"credentials_url": "http://127.0.0.1:9/", "credentials_token": f"{SECRET}\nX: y"}
    refused(errors.ConfigError, fetched("url", **how))


def test_no_environment_is_left_behind() -> None:
    assert not [name for name in NAMES if name in os.environ]
