"""`holdfast health`: what containers and scripts go by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doors.cli_tools import Place, free_port
from tests.doors.rest_service import serving
from tests.doors.test_http_tls import make_certificate

pytestmark = pytest.mark.doors


def test_a_service_that_answers_is_alive_and_ready(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with serving(tmp_path / "served") as service:
        url = f"http://127.0.0.1:{service.port}"
        assert place.run("health", "--server", url).out == f"{url}: alive\n"
        assert place.run("health", "--ready", "--server", url).out == f"{url}: ready\n"
        (tmp_path / "holdfast.toml").write_text(f'host = "0.0.0.0"\nport = {service.port}\n')
        config = str(tmp_path / "holdfast.toml")
        assert place.run("health", "--config", config).out == f"{url}: alive\n"


def test_one_that_is_stopping_is_alive_but_not_ready(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with serving(tmp_path / "served", limits={"shutdown_delay": 80.0}) as service:
        service.stop()
        url = f"http://127.0.0.1:{service.port}"
        assert place.run("health", "--server", url).out == f"{url}: alive\n"
        found = place.run("health", "--ready", "--server", url, status=15)
        assert "is not ready" in found.err
        service.loop.call_soon_threadsafe(service.server.stop)  # told twice, it does not wait


def test_nobody_there_is_told_apart(tmp_path: Path) -> None:
    found = Place(tmp_path).run("health", "--server", f"http://127.0.0.1:{free_port()}", status=15)
    assert "does not answer" in found.err


def test_its_own_certificate_is_not_looked_at_but_that_of_others_is(tmp_path: Path) -> None:
    place, paths = Place(tmp_path), make_certificate(tmp_path)
    with serving(tmp_path / "served", tls=paths) as service:
        config = tmp_path / "holdfast.toml"
        tls = f'[tls]\ncertificate = "{paths["certificate"]}"\nkey = "{paths["key"]}"\n'
        config.write_text(f"port = {service.port}\n{tls}")
        url = f"https://127.0.0.1:{service.port}"
        assert place.run("health", "--config", str(config)).out == f"{url}: alive\n"
        found = place.run("health", "--server", f"https://localhost:{service.port}", status=15)
        assert "--ca-file" in found.err
        trusted = ("--server", f"https://localhost:{service.port}", "--ca-file", str(paths["certificate"]))
        assert place.run("health", *trusted).out.endswith(": alive\n")
