"""TLS: sound versions only, a certificate that is renewed without a restart, caps before the handshake."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.api.server.tls import Certificate, certificate_of
from holdfast.config.settings import load
from holdfast.core.errors import ConfigError
from tests.doors.rest_service import Service, alone, read_all, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors


def make_certificate(
    folder: Path, name: str = "localhost", *, password: bytes | None = None
) -> dict[str, Path]:
    """Write a certificate for `name` that signs itself, and its key; return the settings that name them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    paths = {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}
    paths["certificate"].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths["key"].touch(0o600)
    paths["key"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    return paths


def trusting(paths: dict[str, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(paths["certificate"]))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def secure(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"header_timeout": 3.0}
    with serving(tmp_path_factory.mktemp("secure"), tls=paths, limits=limits) as service:
        yield service


def talk(service: Service, data: bytes, context: ssl.SSLContext) -> bytes:
    with service.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(data)
        return read_all(sock)


CLOSE = b"Host: localhost\r\nConnection: close\r\n\r\n"
HEALTH = b"GET /health/live HTTP/1.1\r\n" + CLOSE


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sound_versions_are_spoken(secure: Service, paths: dict[str, Path], version: ssl.TLSVersion) -> None:
    context = trusting(paths)
    context.minimum_version = context.maximum_version = version
    assert talk(secure, HEALTH, context).startswith(b"HTTP/1.1 200")


def test_a_large_file_comes_whole(secure: Service, paths: dict[str, Path]) -> None:
    content = noise(5 << 20)
    head = b"PUT /api/v1/objects/plain/large HTTP/1.1\r\nContent-Length: %d\r\n" % len(content)
    assert talk(secure, head + CLOSE + content, trusting(paths)).startswith(b"HTTP/1.1 201")
    answer = talk(secure, b"GET /api/v1/objects/plain/large HTTP/1.1\r\n" + CLOSE, trusting(paths))
    assert answer.partition(b"\r\n\r\n")[2] == content


def test_a_refusal_reaches_a_client_that_is_still_sending(secure: Service, paths: dict[str, Path]) -> None:
    head = b"PUT /api/v1/objects/plain/%00 HTTP/1.1\r\nContent-Length: 67108864\r\n" + CLOSE
    with secure.connect() as plain, trusting(paths).wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(head + bytes(200_000))
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 400")


def read_until(sock: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found and (chunk := sock.recv(65536)):
        found += chunk
    return found


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_and_weak_ciphers_are_not(secure: Service, paths: dict[str, Path]) -> None:
    old = trusting(paths)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = trusting(paths)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    for context in (old, weak):
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):  # it is the server that hangs up
            talk(secure, HEALTH, context)


def test_plain_http_and_silence_are_cut(secure: Service, paths: dict[str, Path]) -> None:
    assert not secure.raw(HEALTH).startswith(b"HTTP/1.1 200")
    began = time.monotonic()
    with secure.connect() as silent:
        assert read_all(silent) == b""
    assert time.monotonic() - began < 12
    assert talk(secure, HEALTH, trusting(paths)).startswith(b"HTTP/1.1 200")


def test_connections_count_before_their_handshake(tmp_path: Path) -> None:
    paths = make_certificate(tmp_path)
    limits = {"header_timeout": 30.0, "max_connections_per_address": 12}
    with serving(tmp_path, tls=paths, limits=limits) as service:
        held = [service.connect() for _ in range(12)]
        settle(service, 12)
        with pytest.raises((ssl.SSLError, OSError)):
            talk(service, HEALTH, trusting(paths))
        for sock in held:
            sock.close()
        settle(service, 0)
        assert talk(service, HEALTH, trusting(paths)).startswith(b"HTTP/1.1 200")


def settle(service: Service, wanted: int) -> None:
    """Wait until so many connections are counted."""
    until = time.monotonic() + 10
    while service.run(places(service)) != wanted and time.monotonic() < until:
        time.sleep(0.05)
    assert service.run(places(service)) == wanted


async def places(service: Service) -> int:
    return service.server.gate.held


def serial(port: int) -> int:
    found = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(found.encode()).serial_number


def test_a_new_certificate_is_shown_and_a_broken_one_is_not(tmp_path: Path) -> None:
    paths = make_certificate(tmp_path)
    with serving(tmp_path, tls=paths) as service:
        first = serial(service.port)
        make_certificate(tmp_path)
        certificate = service.server.certificate
        assert certificate is not None
        assert on_loop(service, certificate) is True
        second = serial(service.port)
        assert second != first
        paths["certificate"].write_text("nonsense")
        assert on_loop(service, certificate) is False
        assert serial(service.port) == second
        assert on_loop(service, certificate) is False  # nothing changed since


def on_loop(service: Service, certificate: Certificate) -> bool:
    async def refresh() -> bool:
        return certificate.refresh()

    return bool(service.run(refresh()))


SERVE = """
import asyncio, sys
from holdfast.api.server import serve
from holdfast.api.server.serving import listen
from holdfast.config.settings import load
from tests.doors.http_worker import tell_pid
settings = load(None, tls={"certificate": sys.argv[1], "key": sys.argv[2]})
listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
asyncio.run(serve(tell_pid, settings, listener=listener))
"""


def test_sighup_renews_the_certificate(tmp_path: Path) -> None:
    paths = make_certificate(tmp_path)
    with alone(SERVE, str(paths["certificate"]), str(paths["key"])) as (process, port):
        first = serial(port)
        make_certificate(tmp_path)
        until = time.monotonic() + 8  # sooner than the files are looked at by themselves
        found = first
        while found == first and time.monotonic() < until:
            os.kill(process.pid, signal.SIGHUP)
            time.sleep(0.1)
            found = serial(port)
        assert found != first
    assert process.returncode == 0


def test_what_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    paths = make_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    make_certificate(other)
    settings = load(None, tls=paths).tls
    assert certificate_of(settings) is not None
    assert certificate_of(load(None).tls) is None
    with pytest.raises(ConfigError, match="go together"):
        load(None, tls={"certificate": paths["certificate"]})
    with pytest.raises(ConfigError, match="cannot be used"):
        Certificate(settings.model_copy(update={"key": other / "key.pem"}))
    with pytest.raises(ConfigError, match="cannot read"):
        Certificate(settings.model_copy(update={"key": tmp_path / "absent.pem"}))
    paths["key"].chmod(0o644)
    with pytest.raises(ConfigError, match="0644"):
        Certificate(settings)
    locked = make_certificate(other, password=b"secret")
    with pytest.raises(ConfigError, match="encrypted"):
        Certificate(load(None, tls=locked).tls)
