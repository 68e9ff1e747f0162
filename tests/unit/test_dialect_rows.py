"""Dialects of S3 as data: who is told by which host, what an operator's word does, what is refused before anything is sent."""

from __future__ import annotations

import asyncio
import base64
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import pytest

from holdfast.backends import registry
from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, open_s3
from holdfast.backends.object_store.dialects import DIALECTS, GIB, MIB, MIN_PART, Name, region_of, told_by
from holdfast.backends.object_store.upload import plan
from holdfast.core import errors
from holdfast.core.backend import Capability
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.testing.dialects import MANNERS

pytestmark = pytest.mark.unit

BASE = {"bucket": "b", "access_key": "k", "secret_key": "s"}
KEY = base64.b64encode(b"k" * 32).decode()


def settings(**extra: Any) -> S3Settings:
    return S3Settings.model_validate({**BASE, **extra})


def opened(**extra: Any) -> ObjectStoreBackend:
    return open_s3("s3", settings(**extra), environment=Environment())


# -- rows ----------------------------------------------------------------------------------------------------------
def test_each_dialect_has_a_row_and_manners_to_be_tried_against() -> None:
    assert set(get_args(Name)) == set(DIALECTS) == set(MANNERS)


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_row_is_possible(name: str) -> None:
    row = DIALECTS[name]
    assert row.name == name
    assert MIN_PART <= row.max_part <= row.max_object_size <= row.max_part * row.max_parts
    assert row.max_copy <= row.max_object_size
    assert row.copy_parts or row.max_copy == row.max_object_size
    assert row.metadata_bytes >= 2048
    assert not (row.conditional_complete and not row.conditional_put)


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_row_offers_no_more_than_its_manners_allow(name: str) -> None:
    """Two statements of the same facts, made apart."""
    row, manners = DIALECTS[name], MANNERS[name]
    assert row.conditional_put <= manners.conditions
    assert row.conditional_complete <= manners.late_conditions
    assert row.batch_delete <= manners.batch_delete
    assert row.copy_parts <= manners.part_copy
    assert row.sorted_listing <= manners.sorted
    assert row.tagging == manners.tagging
    assert row.versioning == manners.versions
    assert row.max_part <= manners.single
    assert row.metadata_bytes <= manners.metadata
    assert row.storage_classes <= set(manners.classes) or not manners.classes
    assert row.equal_parts == manners.equal_parts


# -- who is told by which host -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("endpoint", "name", "region"),
    [
        ("", "aws", "us-east-1"),
        ("https://s3.eu-west-1.amazonaws.com", "aws", "eu-west-1"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "aws", "eu-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "aws", "cn-north-1"),
        ("https://s3.amazonaws.com", "aws", "us-east-1"),
        ("https://0123.r2.cloudflarestorage.com", "r2", "auto"),
        ("https://0123.eu.r2.cloudflarestorage.com", "r2", "auto"),
        ("https://storage.googleapis.com", "gcs", "auto"),
        ("https://s3.us-west-004.backblazeb2.com", "b2", "us-west-004"),
        ("https://s3.eu-central-2.wasabisys.com", "wasabi", "eu-central-2"),
        ("https://s3.wasabisys.com", "wasabi", "us-east-1"),
        ("https://minio.example.org", "generic", "us-east-1"),
        ("https://amazonaws.com.evil.example", "generic", "us-east-1"),
        ("https://notamazonaws.com", "generic", "us-east-1"),
        ("http://127.0.0.1:9000", "generic", "us-east-1"),
    ],
)
def test_a_host_that_is_unmistakable_tells_dialect_and_region(endpoint: str, name: str, region: str) -> None:
    assert told_by(endpoint).name == name
    made = settings(endpoint=endpoint, allow_http=True)
    assert (made.server.name, made.server.region) == (name, region)


def test_a_region_is_only_read_from_hosts_that_name_one() -> None:
    assert region_of("https://s3.eu-west-1.example.org") == ""
    assert region_of("https://bucket.s3.eu-west-1.amazonaws.com") == "eu-west-1"


# -- the operator's word -------------------------------------------------------------------------------------------
def test_what_the_operator_says_stands_above_the_row() -> None:
    plain = settings(dialect="gcs", endpoint="https://host")
    assert (plain.server.batch_delete, plain.server.conditional_writes, plain.checksum_algorithm) == (
        False,
        False,
        None,
    )
    said = settings(
        dialect="gcs",
        endpoint="https://host",
        region="eu",
        batch_delete=True,
        conditional_writes=True,
        checksum="sha256",
        max_object_size=7 * GIB,
        folders=True,
        sorted_listing=False,
        md5_etags=False,
    )
    row = said.server
    assert (row.region, row.batch_delete, row.conditional_writes) == ("eu", True, True)
    assert (row.max_object_size, row.folders, row.sorted_listing, row.md5_etags) == (
        7 * GIB,
        True,
        False,
        False,
    )
    assert said.checksum_algorithm == "sha256"
    named = settings(dialect="generic", endpoint="https://0123.r2.cloudflarestorage.com")
    assert named.server.name == "generic"


def test_a_changed_copy_of_settings_has_its_own_row() -> None:
    one = settings(dialect="r2")
    assert one.server.name == "r2"
    assert one.model_copy(update={"dialect": "b2"}).server.name == "b2"


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_checksums_are_sent_only_where_they_are_known_and_the_way_is_encrypted(name: str) -> None:
    sent = settings(dialect=name, endpoint="https://host").checksum_algorithm
    assert sent == (
        "crc64nvme" if name in ("aws", "naas", "minio", "r2", "versitygw", "rclone", "generic") else None
    )
    assert settings(dialect=name, endpoint="http://host", allow_http=True).checksum_algorithm is None


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_capabilities_and_limits_follow_the_dialect(name: str) -> None:
    async def story() -> None:
        backend = opened(dialect=name, endpoint="https://host")
        row = DIALECTS[name]
        assert (Capability.IF_ABSENT in backend.capabilities) == row.conditional_writes
        assert backend.limits.max_blob_size == row.max_object_size
        assert backend.limits.max_metadata_bytes == row.metadata_bytes // 2
        assert backend.limits.max_name_bytes == 1024 - row.folders
        await backend.close()

    asyncio.run(story())


# -- refused before anything is opened or sent ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dialect": "r2", "sse": "sse-kms"}, "Cloudflare R2 does not offer sse = 'sse-kms'; it offers sse-c"),
        ({"dialect": "r2", "sse": "sse-s3"}, "sse-s3"),
        ({"endpoint": "https://0.r2.cloudflarestorage.com", "sse": "sse-s3"}, "Cloudflare R2"),
        ({"dialect": "gcs", "sse": "sse-c", "sse_c_key": KEY}, "none at all"),
        ({"dialect": "garage", "sse": "sse-s3"}, "Garage"),
        ({"dialect": "r2", "storage_class": "GLACIER"}, "STANDARD, STANDARD_IA"),
        ({"dialect": "b2", "storage_class": "STANDARD_IA"}, "Backblaze B2"),
        ({"dialect": "aws", "storage_class": "COLD"}, "dialect = 'generic'"),
        ({"dialect": "r2", "part_size": 5 * GIB}, "part_size"),
        ({"dialect": "minio", "sse": "sse-c", "sse_c_key": KEY, "endpoint": "http://h", "allow_http": True}, "https"),
        ({"dialect": "azure"}, "dialect"),
    ],
)  # fmt: skip
def test_what_a_dialect_refuses_is_a_configuration_error_that_says_so(
    wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        registry.parse("s3", {**BASE, **wrong})
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        {"dialect": "r2", "sse": "sse-c", "sse_c_key": KEY},
        {"dialect": "r2", "storage_class": "STANDARD_IA"},
        {"dialect": "gcs", "storage_class": "NEARLINE"},
        {"dialect": "generic", "storage_class": "COLD", "sse": "sse-kms"},
        {"dialect": "ceph", "storage_class": "MY_OWN"},
        {"dialect": "b2", "sse": "sse-s3"},
    ],
)
def test_what_a_dialect_takes_is_taken(right: dict[str, Any]) -> None:
    registry.parse("s3", {**BASE, **right})


@pytest.mark.parametrize(("name", "size"), [("r2", 5 * (1 << 40)), ("b2", 11 * 10**12), ("wasabi", 6 << 40)])
def test_what_is_too_large_is_told_before_a_byte_is_read(name: str, size: int) -> None:
    async def untouched() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async def story() -> None:
        backend = opened(dialect=name, endpoint="https://127.0.0.1:1")
        with pytest.raises(errors.TooLargeError, match="most that fits"):
            await backend.put("n", Body.of_stream(untouched(), size=size))
        await backend.close()

    asyncio.run(story())


def test_the_largest_object_of_each_dialect_fits_into_its_parts() -> None:
    for row in DIALECTS.values():
        made = plan(row.max_object_size, part_size=8 * MIB, concurrency=4, server=row)
        assert made.part_size <= row.max_part
        assert made.reach >= row.max_object_size
        unknown = plan(None, part_size=row.max_part, concurrency=4, server=row)
        assert unknown.part_size <= row.max_part
    with pytest.raises(errors.TooLargeError):
        plan(DIALECTS["r2"].max_part * 10_000 + 1, part_size=8 * MIB, concurrency=4, server=DIALECTS["r2"])


# -- the guide -----------------------------------------------------------------------------------------------------
GUIDE = Path(__file__).parent.parent.parent / "docs" / "guides" / "s3.md"
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_guide_has_a_block_for_each_kind_of_server_and_each_is_taken() -> None:
    spoken = set()
    for block in BLOCKS:
        (store,) = tomllib.loads(block)["stores"].values()
        assert store.pop("driver") == "s3"
        store["secret_key"] = str(store.pop("secret_key_file"))
        parsed = registry.parse("s3", store)
        assert isinstance(parsed, S3Settings)
        spoken.add(parsed.server.name)
    assert spoken == set(DIALECTS) - {"naas", "rclone"}
