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

pytestmark = pytest.mark.engine


class WithItsFake(Layer):
    """A backend whose fake ends with it."""

    preserves = ~Capability.NONE

    def __init__(self, inner: Backend, fake: FakeDrive) -> None:
        super().__init__(inner)
        self._fake = fake

    async def close(self) -> None:
        await super().close()
        await self._fake.stop()


async def on_a_fake(environment: Environment, folder: Path) -> Backend:
    """Open a folder of My Drive, as a user."""
    fake = FakeDrive()
    await fake.start()
    person = fake.state.add_person("me@example.org")
    settings = GoogleDriveSettings.model_validate(
        {
            "folder_id": fake.state.add_folder(person.root),
            "client_id": "client",
            "client_secret": "secret",
            "refresh_token": fake.granting.add_consent(
                person.email, client_id="client", client_secret="secret"
            ),
            "api_base": fake.api_base,
            "upload_base": fake.upload_base,
            "token_url": fake.token_url,
            "allow_http": True,
            "chunk_size": 1 << 20,
        }
    )
    backend = open_google_drive("drive", settings, environment=environment, notes=MemoryNotes())
    return WithItsFake(backend, fake)


test_promise = conformance(on_a_fake)
