"""Servers and fakes for `flat`, each in a process of its own: `python -m bench.flat_places NAME`.

The settings of a store in it are printed as one line of JSON; it ends with its input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.peers import flask_stack
from holdfast.testing.azurite import azurite
from holdfast.testing.fakes.gcs import FakeGcs
from holdfast.testing.fakes.google_drive import FakeDrive, serving
from holdfast.testing.fakes.naas import running
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk
from holdfast.testing.fakes.yandex_disk import Rules as YandexRules
from holdfast.testing.servers import S3Server

_PERSON: Final = "me@example.org"
_VAST: Final = 1 << 44

Values = dict[str, Any]


@contextmanager
def _local() -> Iterator[Values]:
    folder = Path.cwd() / "local"
    yield {"driver": "local", "path": str(folder), "create": True}


@contextmanager
def _s3() -> Iterator[Values]:
    with flask_stack.store() as server:
        yield _of_s3(server)


def _of_s3(server: S3Server) -> Values:
    return {
        "driver": "s3",
        "bucket": server.bucket,
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "dialect": server.kind,
        "allow_http": True,
    }


@contextmanager
def _gcs() -> Iterator[Values]:
    with FakeGcs() as fake:
        yield {"driver": "gcs", **fake.settings()}


@contextmanager
def _azure() -> Iterator[Values]:
    with azurite(folder=Path.cwd() / "azurite") as server:
        yield {
            "driver": "azure",
            "account": server.account,
            "container": server.container,
            "endpoint": server.endpoint,
            "account_key": server.account_key,
            "allow_http": True,
        }


@contextmanager
def _yandex_disk() -> Iterator[Values]:
    rules = YandexRules(total_space=_VAST, max_file_size=_VAST)
    with FakeYandexDisk(rules=rules) as fake:
        yield {"driver": "yandex_disk", **fake.settings()}


@contextmanager
def _google_drive() -> Iterator[Values]:
    with serving(FakeDrive()) as fake:
        person = fake.state.add_person(_PERSON)
        who = {"client_id": "client", "client_secret": "secret"}
        yield {
            "driver": "google_drive",
            **who,
            "refresh_token": fake.granting.add_consent(person.email, **who),
            "folder_id": fake.state.add_folder(person.root),
            "api_base": fake.api_base,
            "upload_base": fake.upload_base,
            "token_url": fake.token_url,
            "allow_http": True,
        }


@contextmanager
def _naas() -> Iterator[Values]:
    with flask_stack.store() as server, running(server) as fake:
        yield {"driver": "naas", **fake.settings(dialect=server.kind)}


@contextmanager
def _cached() -> Iterator[Values]:
    with flask_stack.store() as server:
        yield {**_of_s3(server), "cache": str(Path.cwd() / "cache"), "cache_bytes": _VAST}


#: Every place by name; `encrypted` is a local disk, through the face of the store that encrypts.
PLACES: Final[dict[str, Callable[[], AbstractContextManager[Values]]]] = {
    "local": _local,
    "encrypted": _local,
    "s3": _s3,
    "cached": _cached,
    "gcs": _gcs,
    "azure": _azure,
    "yandex_disk": _yandex_disk,
    "google_drive": _google_drive,
    "naas": _naas,
}


def main() -> None:
    """Serve the place that the command line names, until the input ends."""
    with PLACES[sys.argv[1]]() as settings:
        print(json.dumps(settings), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
