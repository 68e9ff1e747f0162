"""Keys of an issuer from a set: what is taken of it, and a fetch that cannot be led elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from holdfast.config import load
from holdfast.config.issuers import AuthSettings, IssuerSettings
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import ConfigError, UnauthenticatedError, UnavailableError
from holdfast.engine.issuers import key_of, key_set
from holdfast.engine.jwks import RemoteKeys, check_url
from holdfast.engine.secrets import RootSecret
from holdfast.engine.trust import open_tokens
from tests.engine.forging import EC, ED, RSA, SHARED
from tests.helpers import run

pytestmark = pytest.mark.engine
HERE = ("127.0.0.0/8",)


def member(party: Any = RSA, **more: Any) -> dict[str, Any]:
    kinds: dict[str, Callable[[Any], str]] = {
        "RS256": pyjwt.algorithms.RSAAlgorithm.to_jwk,
        "ES256": pyjwt.algorithms.ECAlgorithm.to_jwk,
        "EdDSA": pyjwt.algorithms.OKPAlgorithm.to_jwk,
    }
    found = {**json.loads(kinds[party.algorithm](party.public)), "kid": "k1", **more}
    found.pop("key_ops", None)
    return found


def document(*members: Any) -> bytes:
    return json.dumps({"keys": list(members)}).encode()


# -- what is taken of a set -------------------------------------------------------------------------------------------
def test_only_keys_that_fit_are_taken() -> None:
    whole = document(
        member(),
        member(kid="k2", use="sig", alg="RS256"),
        member(kid="for-encryption", use="enc"),
        member(kid="other-algorithm", alg="RS512"),
        member(EC, kid="other-kind"),
        {**member(), "kid": 7},
        {name: value for name, value in member().items() if name != "kid"},
        "no key at all",
    )
    assert set(key_set(whole, "RS256")) == {"k1", "k2"}
    assert set(key_set(whole, "RS256", frozenset({"k2"}))) == {"k2"}
    assert set(key_set(whole, "ES256")) == {"other-kind"}
    assert key_set(whole, "ES384") == {}
    assert set(key_set(document(member(ED)), "EdDSA")) == {"k1"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"keys": {}}',
        b"\xff",
        document(*[member(kid=str(n)) for n in range(65)]),
        document(member(), member()),
        document({**member(), "n": "!"}),
        document({"kty": "RSA", "kid": "k1"}),
    ],
)
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigError):
        key_set(text, "RS256")


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_weak_and_unfitting_keys_are_refused() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    pems = [
        (pem_of(small), "RS256"),
        (pem_of(other), "ES256"),
        (RSA.pem, "ES256"),
        (EC.pem, "RS256"),
        (ED.pem, "RS256"),
        (RSA.pem, "HS256"),
        (SHARED[:31], "HS256"),
        (SHARED[:32], "HS384"),
        (SHARED, "RS256"),
        (b"", "HS256"),
        (b"", "RS256"),
    ]
    for pem, algorithm in pems:
        with pytest.raises(ConfigError):
            key_of(pem, algorithm)
    for party in (RSA, EC, ED):
        key_of(party.pem, party.algorithm)
    key_of(SHARED, "HS256")


def pem_of(public: Any) -> bytes:
    from tests.engine.forging import Party

    return Party("x", "x", None, public, None).pem


# -- fetching ---------------------------------------------------------------------------------------------------------
class Server:
    """A key server that answers what it is told to, and counts."""

    def __init__(self) -> None:
        self.body = document(member())
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"


@contextmanager
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            try:
                self.wfile.write(told.body)
            except OSError:
                return

        def log_message(self, *args: Any) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        http.shutdown()
        http.server_close()
        thread.join(10)


def remote(told: Server, clock: ManualClock, *, kids: tuple[str, ...] = (), url: str = "") -> RemoteKeys:
    return RemoteKeys(url or told.url, "RS256", frozenset(kids), HERE, clock)


def test_keys_are_fetched_once_and_anew_for_a_kid_that_is_not_known() -> None:
    clock = ManualClock()

    async def story(told: Server) -> None:
        keys = remote(told, clock)
        for _ in range(5):
            await keys.find("k1")
        assert len(told.asked) == 1
        told.body = document(member(), member(kid="k2"))
        with pytest.raises(UnauthenticatedError):
            await keys.find("k2")  # so soon nobody is asked again
        assert len(told.asked) == 1
        clock.advance(31)
        await keys.find("k2")
        for _ in range(5):
            with pytest.raises(UnauthenticatedError):
                await keys.find("k3")
        assert len(told.asked) == 2

    with server() as told:
        run(story(told))


def test_only_pinned_kids_are_asked_for_and_taken() -> None:
    clock = ManualClock()

    async def story(told: Server) -> None:
        told.body = document(member(), member(kid="k2"))
        keys = remote(told, clock, kids=("k1",))
        await keys.find("k1")
        for kid in ("k2", "k3", None, ""):
            clock.advance(31)
            with pytest.raises(UnauthenticatedError):
                await keys.find(kid)
        assert len(told.asked) == 1

    with server() as told:
        run(story(told))


def test_a_key_that_the_issuer_took_back_ends_and_known_ones_outlive_its_silence() -> None:
    clock = ManualClock()

    async def story(told: Server) -> None:
        keys = remote(told, clock)
        await keys.find("k1")
        told.status = 500
        clock.advance(601)
        await keys.find("k1")
        assert len(told.asked) == 2
        told.status, told.body = 200, document(member(kid="k2"))
        clock.advance(31)
        with pytest.raises(UnauthenticatedError):
            await keys.find("k1")

    with server() as told:
        run(story(told))


@pytest.mark.parametrize("how", ["redirect", "elsewhere", "error", "rubbish", "huge", "compressed"])
def test_an_answer_that_is_not_as_it_should_be_is_no_key_set(how: str) -> None:
    clock = ManualClock()

    async def story(told: Server) -> None:
        good = told.body
        if how == "redirect":
            told.status, told.headers = 302, {"Location": "/other"}
        if how == "elsewhere":
            told.status, told.headers = 307, {"Location": "http://169.254.169.254/latest"}
        if how == "error":
            told.status = 404
        if how == "rubbish":
            told.body = b"<html>"
        if how == "huge":
            told.body = good + b" " * (300 << 10)
        if how == "compressed":
            import zlib

            told.body, told.headers = zlib.compress(good), {"Content-Encoding": "deflate"}
        keys = remote(told, clock)
        with pytest.raises(UnavailableError):
            await keys.find("k1")
        assert told.asked == ["/keys"]
        told.body, told.status, told.headers = good, 200, {}
        with pytest.raises(UnavailableError):
            await keys.find("k1")  # not before its time
        clock.advance(31)
        await keys.find("k1")

    with server() as told:
        run(story(told))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_no_spelling_of_this_machine_is_asked_unless_the_settings_name_it(host: str) -> None:
    clock = ManualClock()

    async def story(told: Server) -> None:
        for scheme, networks in (("http", ("192.0.2.0/24",)), ("https", ()), ("https", ("10.0.0.0/8",))):
            url = f"{scheme}://{host}:{told.port}/keys"
            keys = RemoteKeys(url, "RS256", frozenset(), networks, clock)
            with pytest.raises(UnavailableError):
                await keys.find("k1")
        assert told.asked == []

    with server() as told:
        run(story(told))


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/x",
        "ftp://keys.example/x",
        "file:///etc/passwd",
        "https://",
        "keys.example",
        "https://me:pw@keys.example/",
        "",
    ],
)
def test_an_address_without_https_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_url(url, ())
    assert "pw" not in str(refused.value)


# -- from the settings ------------------------------------------------------------------------------------------------
def issuer(**changes: Any) -> dict[str, Any]:
    said = {
        "issuer": RSA.issuer,
        "audience": "storage",
        "algorithm": "RS256",
        "key": RSA.pem.decode(),
        "tenant": "acme",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"key": None},
        {"jwks_url": "https://keys.example/"},
        {"tenant_claim": "team"},
        {"tenant": None},
        {"tenant": "../x"},
        {"algorithm": "none"},
        {"algorithm": "HS256", "key": None, "jwks_url": "https://keys.example/"},
        {"leeway": 31},
        {"role": "root"},
        {"issuer": "holdfast"},
        {"issuer": ""},
        {"audience": ""},
        {"kid": "x"},
    ],
)
def test_settings_of_an_issuer_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        IssuerSettings.model_validate(issuer(**changes))


@pytest.mark.parametrize("name", ["holdfast", "key", "A", "", "a/b", "x" * 33])
def test_an_issuer_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValueError):
        AuthSettings.model_validate({"issuers": {name: issuer()}})


def test_two_issuers_cannot_be_the_same() -> None:
    with pytest.raises(ValueError):
        AuthSettings.model_validate({"issuers": {"a": issuer(), "b": issuer()}})


def test_keys_come_from_files_and_secrets_stay_hidden(tmp_path: Path) -> None:
    pem, secret, keys = tmp_path / "key.pem", tmp_path / "secret", tmp_path / "jwks.json"
    pem.write_bytes(RSA.pem)
    secret.write_bytes(SHARED + b"\n")
    secret.chmod(0o600)
    keys.write_bytes(document(member(EC)))
    file = tmp_path / "holdfast.toml"
    file.write_text(
        f"""
[auth.issuers.one]
issuer = "https://one.example"
audience = "storage"
algorithm = "RS256"
key_file = "{pem}"
tenant = "acme"

[auth.issuers.two]
issuer = "https://two.example"
audience = "storage"
algorithm = "HS256"
key_file = "{secret}"
tenant_claim = "team"

[auth.issuers.three]
issuer = "https://three.example"
audience = "storage"
algorithm = "ES256"
jwks_file = "{keys}"
tenant = "acme"
"""
    )
    settings = load(file)
    world = Environment.seeded(1)
    open_tokens(settings.auth, RootSecret(b"s" * 32), None, world.clock)  # type: ignore[arg-type]
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match=r"auth\.issuers\.two"):
        open_tokens(settings.auth, RootSecret(b"s" * 32), None, world.clock)  # type: ignore[arg-type]
    hidden = AuthSettings.model_validate({"issuers": {"a": issuer(algorithm="HS256", key=SHARED.decode())}})
    assert SHARED.decode() not in repr(hidden)
    assert SHARED.decode() not in hidden.model_dump_json()
