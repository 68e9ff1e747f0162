"""The Azure backend keeps every promise on Azurite; and, entered as an identity over TLS, those that depend on who asks."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from holdfast.backends.object_store.azure import AzureBackend, Token
from holdfast.core.clock import Environment
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.run import State, conformance, run
from holdfast.testing.servers import require
from tests import azure_tools, helpers
from tests.conformance import copies

pytestmark = pytest.mark.engine

_stack = contextlib.ExitStack()
_running: dict[bool, AzureServer] = {}


def teardown_module() -> None:
    _stack.close()
    _running.clear()
    os.environ.pop("SSL_CERT_FILE", None)


def _server(*, tls: bool = False) -> AzureServer:
    if tls not in _running:
        _running[tls] = _stack.enter_context(require(lambda: azurite(tls=tls)))
    return _running[tls]


def with_key(environment: Environment, folder: Path) -> AzureBackend:
    return azure_tools.store(_server(), environment)


test_promise_with_a_key = conformance(with_key)


async def between_containers(environment: Environment, folder: Path) -> tuple[AzureBackend, AzureBackend]:
    there = azure_tools.store(_server(), environment, container="another", prefix="p/")
    await azure_tools.make_container(there)
    return azure_tools.store(_server(), environment), there


def between_accounts(environment: Environment, folder: Path) -> tuple[AzureBackend, AzureBackend]:
    return azure_tools.store(_server().other, environment), azure_tools.store(_server(), environment)


test_copies_between_containers = copies.kept_by(between_containers)
#: What depends on how the source is read: by a link that its own account signs.
test_copies_between_accounts = copies.kept_by(
    between_accounts,
    only=("a_copy_has_the_bytes_the_name_and_the_metadata", "names_of_any_kind_are_found"),
)


class _Token:
    """An identity whose token is at hand."""

    async def current(self) -> Token:
        return self._held

    async def renew(self, stale: object) -> Token:
        return self._held

    _held = Token(azure_tools.jwt())


#: What is another way for an identity than for a key: links, the source of a copy, and the library's reads.
_DEPENDS = (
    *("a_signed_url_reads", "a_signed_url_names_the_download", "a_signed_url_writes"),
    *("a_signed_url_tells_when_it_ends", "a_copy_keeps_the_metadata", "a_copy_is_a_blob_of_its_own"),
    *("several_mebibytes_round_trip", "a_suffix_range_reads_the_last_bytes", "metadata_is_kept"),
    *("if_absent_refuses_a_taken_name", "a_listing_is_in_byte_order", "delete_removes", "get_and_head_agree"),
)


def test_promises_as_an_identity_over_tls() -> None:
    server = _server(tls=True)
    os.environ["SSL_CERT_FILE"] = str(server.ca_file)  # for the plain client that tries signed URLs

    async def story() -> None:
        told = azure_tools.settings(server, credentials="managed_identity")
        backend = azure_tools.open_azure("az", told, environment=Environment(), source=_Token())
        try:
            outcomes = await run(backend, only=_DEPENDS)
        finally:
            await backend.close()
        assert [(one.name, one.reason) for one in outcomes if one.state is not State.KEPT] == []
        assert len(outcomes) == len(_DEPENDS)

    helpers.run(story())
