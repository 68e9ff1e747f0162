"""The Google Drive backend keeps every promise on a fake that was made from the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.backends.google_drive import GoogleDriveSettings, open_google_drive
from holdfast.core.backend import Backend, Capability
from holdfast.core.clock import Environment
from holdfast.core.notes import MemoryNotes
from holdfast.layers.base import Layer
from holdfast.testing.fakes.google_drive import FakeDrive
from holdfast.testing.run import conformance
from tests.conformance import copies

pytestmark = pytest.mark.engine

#: Promises that the same lines keep for copies inside one store, which are tried anyway.
_OF_COPY = {"names_of_any_kind_are_found", "a_copy_replaces_its_target_and_leaves_no_third_name"}


class WithItsFake(Layer):
    """A backend whose fake ends with it."""

    preserves = ~Capability.NONE

    def __init__(self, inner: Backend, fake: FakeDrive) -> None:
        super().__init__(inner)
        self._fake = fake

    async def close(self) -> None:
        await super().close()
        await self._fake.stop()


def opened(fake: FakeDrive, consent: str, folder: str, environment: Environment) -> Backend:
    """Open a folder of My Drive, as the user who gave the consent."""
    settings = GoogleDriveSettings.model_validate(
        {
            "folder_id": folder,
            "client_id": "client",
            "client_secret": "secret",
            "refresh_token": consent,
            "api_base": fake.api_base,
            "upload_base": fake.upload_base,
            "token_url": fake.token_url,
            "allow_http": True,
            "chunk_size": 1 << 20,
        }
    )
    return open_google_drive("drive", settings, environment=environment, notes=MemoryNotes())


async def on_a_fake(environment: Environment, folder: Path, count: int = 1) -> list[Backend]:
    """Open that many folders of My Drive, as one user."""
    fake = FakeDrive()
    await fake.start()
    person = fake.state.add_person("me@example.org")
    consent = fake.granting.add_consent(person.email, client_id="client", client_secret="secret")
    made = [opened(fake, consent, fake.state.add_folder(person.root), environment) for _ in range(count)]
    return [*made[:-1], WithItsFake(made[-1], fake)]


async def alone(environment: Environment, folder: Path) -> Backend:
    return (await on_a_fake(environment, folder))[0]


async def pair(environment: Environment, folder: Path) -> list[Backend]:
    return await on_a_fake(environment, folder, 2)


test_promise = conformance(alone)
test_copies_inside_drive = copies.kept_by(pair, only=sorted(set(copies.PROMISES) - _OF_COPY))
