"""The table of what each backend and layer offers beyond the five verbs, made by opening each; nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from holdfast.backends import registry
from holdfast.core.backend import Capability, Limits
from holdfast.core.clock import Environment

_KEYS: Final = {"access_key": "a", "secret_key": "s"}
_WHY: Final = {
    "FILE": "bytes are not in files of this machine",
    "FOLDERS": "folders exist only as parts of names",
    "COPY": "the store has no copy of its own",
    "PRESIGN": "the store signs no URLs that hold for a while",
    "METADATA": "the store keeps none, or not dependably",
    "IF_ABSENT": "the store cannot refuse a name that is taken, atomically",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What one of them offers, and its bounds."""

    title: str
    capabilities: Capability
    limits: Limits


def page() -> str:
    """Return the page."""
    from holdfast.testing.checks import CHECKS

    flags = [flag for flag in Capability if flag.name]
    text = (
        f"# What backends offer\n\nEvery backend and every layer keeps all of the {len(CHECKS)} [promises](promises.md) but those that need what it does not offer:\n"
        "these are reported as *not offered* by `holdfast store check NAME`, never passed over in silence. Names of S3 dialects\n"
        "that differ are in [their table](dialects.md). What is missing is done by the service itself, or refused with a reason.\n\n"
        f"| | {' | '.join(flag.name or '' for flag in flags)} | Largest blob | Longest name | Metadata |\n"
        f"|{'---|' * (len(flags) + 4)}\n"
    )
    for offer in _offers():
        marks = " | ".join("yes" if flag in offer.capabilities else "" for flag in flags)
        limits = offer.limits
        text += (
            f"| {offer.title} | {marks} | {_size(limits.max_blob_size)} | {limits.max_name_bytes:,} bytes "
            f"| {limits.max_metadata_bytes:,} bytes |\n"
        )
    text += "\nWhy something is missing:\n\n" + "".join(f"- `{name}`: {why}.\n" for name, why in _WHY.items())
    text += (
        "\n- `local` keeps metadata where its file system has user attributes. `yandex_disk` offers `IF_ABSENT` with\n"
        "  `conditional_writes = true`, whose atomicity its documentation does not promise. `google_drive` offers it among services\n"
        "  that share a catalog.\n\nLayers take away: encryption `COPY`, `PRESIGN` and `FILE` (bytes must pass through us), the cache `FILE`; the others nothing.\n"
    )
    text += "\nPromises that need something:\n\n| Promise | Needs |\n|---|---|\n"
    for check in CHECKS.values():
        if check.needs:
            needs = ", ".join(flag.name or "" for flag in check.needs)
            text += f"| {' '.join(check.promise.split())} | {needs} |\n"
    return text


def _offers() -> Iterator[Offer]:
    with TemporaryDirectory() as folder:
        for title, driver, values in _settings(folder):
            settings = registry.parse(driver, values)
            backend = registry.open_backend("store", driver, settings, environment=Environment.seeded(1))
            offered = backend.capabilities
            if driver == "local":  # not what the file system of this folder happens to have
                offered |= Capability.METADATA
            yield Offer(title, offered, backend.limits)


def _settings(folder: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = json.dumps(
        {
            "type": "service_account",
            "client_email": "a@example.iam.gserviceaccount.com",
            "private_key": pem,
            "private_key_id": "k",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    )
    yield "`memory`", "memory", {}
    yield "`local`", "local", {"path": folder}
    yield "`s3` (AWS)", "s3", {**_KEYS, "bucket": "bucket", "dialect": "aws"}
    yield (
        "`s3` (MinIO)",
        "s3",
        {**_KEYS, "bucket": "bucket", "endpoint": "https://minio.example.org", "dialect": "minio"},
    )
    yield (
        "`s3` (R2)",
        "s3",
        {**_KEYS, "bucket": "bucket", "endpoint": "https://r2.example.org", "dialect": "r2"},
    )
    yield "`gcs`", "gcs", {"bucket": "bucket", "credentials_json": account}
    yield "`azure`", "azure", {"account": "account", "container": "container", "account_key": "a2V5a2V5a2V5"}
    yield (
        "`yandex_disk`",
        "yandex_disk",
        {"token": "t"},
    )
    yield (
        "`google_drive`",
        "google_drive",
        {"folder_id": "f", "client_id": "c", "client_secret": "s", "refresh_token": "r"},
    )
    yield "`naas`", "naas", {"api_key": "k", "workspace_id": "w", "storage_name": "s"}


def _size(number: int | None) -> str:
    if number is None:
        return "any"
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number:,} bytes"
