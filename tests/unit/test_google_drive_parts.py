"""The parts of the Google Drive driver that need no server: settings, errors, properties, sorting."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.backends import registry
from holdfast.backends.google_drive import GoogleDriveSettings, open_google_drive, properties
from holdfast.backends.google_drive.errors import OWN_SPACE, Where, from_answer, reason_of
from holdfast.backends.google_drive.properties import Label
from holdfast.backends.google_drive.spool import Seen, Spool
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConfigError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from holdfast.core.notes import MemoryNotes

pytestmark = pytest.mark.unit

USER = {"client_id": "id", "client_secret": "marlin-1", "refresh_token": "marlin-2"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"token": "marlin-3"}, "give one of"),
        ({"refresh_token": ""}, "give one of"),
        ({"client_secret": ""}, "needs client_id and client_secret"),
        ({"subject": "me@example.org"}, "subject belongs to service_account"),
        ({"chunk_size": 300_000}, "multiple of 262144"),
        ({"single_request": 6_000_000}, "less than or equal to 5000000"),
        ({"api_base": "http://127.0.0.1:1/drive/v3"}, "allow_http"),
        ({"token_url": "https://me:marlin-4@example.org/token"}, "must not carry credentials"),
        ({"upload_base": "ftp://example.org"}, "must be a URL"),
        ({"folder_id": "a/b"}, "not written as it has to be"),
        ({"colour": "red"}, "there is no such setting"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        registry.parse("google_drive", {**USER, **changes})
    assert told in str(error.value)
    assert "marlin" not in str(error.value)


def test_secrets_are_in_no_repr_and_every_setting_is_described() -> None:
    settings = GoogleDriveSettings.model_validate(USER)
    assert "marlin" not in repr(settings)
    assert all(field.description for field in GoogleDriveSettings.model_fields.values())
    with pytest.raises(ValidationError):
        settings.folder_id = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    "key",
    [
        "no json",
        "{}",
        json.dumps({"client_email": "a@b", "private_key": "marlin"}),
        json.dumps({"client_email": "a@b", "private_key": "marlin", "type": "authorized_user"}),
    ],
)
def test_what_is_no_key_of_a_service_account_is_refused_when_the_store_opens(key: str) -> None:
    settings = GoogleDriveSettings.model_validate({"service_account": key})
    with pytest.raises(ConfigError) as error:
        open_google_drive("drive", settings, environment=Environment(), notes=MemoryNotes())
    assert "JSON key of a service account" in str(error.value)
    assert "marlin" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (401, "authError", UnauthenticatedError),
        (403, "userRateLimitExceeded", RateLimitedError),
        (403, "rateLimitExceeded", RateLimitedError),
        (403, "sharingRateLimitExceeded", RateLimitedError),
        (403, "dailyLimitExceeded", RateLimitedError),
        (403, "storageQuotaExceeded", QuotaExceededError),
        (403, "quotaExceeded", QuotaExceededError),
        (403, "teamDriveFileLimitExceeded", QuotaExceededError),
        (403, "downloadQuotaExceeded", PermissionDeniedError),
        (403, "cannotDownloadAbusiveFile", PermissionDeniedError),
        (403, "insufficientFilePermissions", PermissionDeniedError),
        (403, "accessNotConfigured", ConfigError),
        (403, "", PermissionDeniedError),
        (403, "somethingNew", PermissionDeniedError),
        (404, "notFound", NotFoundError),
        (413, "uploadTooLarge", TooLargeError),
        (429, "rateLimitExceeded", RateLimitedError),
        (429, "", RateLimitedError),
        (500, "internalError", UnavailableError),
        (502, "", UnavailableError),
        (503, "backendError", UnavailableError),
        (302, "", UnavailableError),
    ],
)
def test_reasons_are_told_apart(status: int, reason: str, kind: type[HoldfastError]) -> None:
    error = from_answer(status, reason, Where("put", "drive", "name"))
    assert type(error) is kind or isinstance(error, kind)
    assert (error.operation, error.store, error.name) == ("put", "drive", "name")


def test_the_day_ends_at_midnight_in_california() -> None:
    noon = 1_763_726_400 * 1_000_000  # 2025-11-21T12:00:00Z
    error = from_answer(403, "dailyLimitExceeded", Where("put", "drive"), now=noon)
    assert error.retry_after == 20 * 3600


def test_a_full_drive_of_a_service_account_is_explained() -> None:
    assert OWN_SPACE in from_answer(403, "storageQuotaExceeded", Where("put", "d", homeless=True)).message
    assert OWN_SPACE not in from_answer(403, "storageQuotaExceeded", Where("put", "d")).message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"errors": [{"reason": "authError"}], "code": 401}}', "authError"),
        (b'{"error": {"details": [{"reason": "RATE_LIMIT_EXCEEDED"}]}}', "RATE_LIMIT_EXCEEDED"),
        (b'{"error": {"status": "UNAUTHENTICATED"}}', "UNAUTHENTICATED"),
        (b'{"error": "invalid_grant"}', ""),
        (b'{"error": {"errors": [{"reason": "with a blank"}]}}', ""),
        (b'{"error": {"errors": 5}}', ""),
        (b"[]", ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_the_reason_of_an_answer(body: bytes, reason: str) -> None:
    assert reason_of(body) == reason


@given(
    st.text(st.sampled_from("abcXYZ019!$'()*+,./:;=@_~-"), min_size=1, max_size=1024),
    st.integers(0, 2**40),
    st.dictionaries(
        st.text(max_size=20), st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=6
    ),
)
def test_what_a_file_says_of_itself_is_read_again_and_fits(
    name: str, generation: int, metadata: dict[str, str]
) -> None:
    label = Label(name, generation, "folder", metadata)
    written = properties.write(label)
    assert len(written) <= properties.MOST
    assert all(len(f"{key}{value}".encode()) <= properties.PAIR for key, value in written.items())
    assert properties.read(written) == label
    stale = {"n8": "left over", "mh": "left over", **written}  # of the file that this one was copied from
    assert properties.read(stale) == label


def test_properties_of_others_say_nothing() -> None:
    good = properties.write(Label("name", 1, "folder", {"a": "b"}))
    assert properties.read({}) is None
    assert properties.read({**good, "h": "0"}) is None
    assert properties.read({**good, "k": "9.9"}) is None
    assert properties.read({**good, "k": "x"}) is None
    assert properties.read({**good, "m0": "{"}) is None
    with pytest.raises(InvalidRequestError):
        properties.write(Label("name", 1, "folder", {"a": "x" * 3000}))
    with pytest.raises(InvalidRequestError):
        properties.write(Label("name", 1, "folder", {"a": "\udc80"}))


def test_more_files_than_memory_holds_come_out_in_order() -> None:
    chance = random.Random(3)
    seen = [
        Seen(
            f"name-{chance.randrange(500):03}",
            -chance.randrange(3),
            number % 7,
            f"id-{number}",
            1,
            "",
            0,
            "{}",
        )
        for number in range(1000)
    ]

    async def story() -> list[Seen]:
        with Spool(held=90) as spool:
            for one in seen:
                await spool.add(one)
            return list(spool.sorted())

    found = asyncio.run(story())
    assert found == sorted(seen)
    newest = [(one.name, -one.older, one.created, one.id) for one in found]
    assert newest == sorted(newest, key=lambda one: (one[0], -one[1], one[2], one[3]))
