"""The variables of services with two stores, one near and one far (`INTERNAL_…`, `EXTERNAL_…`), as settings.

They make the stores `internal` and `external` and say which bucket belongs in which. Where a store has no variables of
its own, those of the single store before it serve: `AWS_S3_ENDPOINT_URL` (or `S3_ENDPOINT`) with `S3_BUCKET_DATASETS`
(or `R2_BUCKET_NAME`). Both stores may be the same bucket of the same server: each keeps to a prefix of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from holdfast.config.secrets import variable
from holdfast.config.translation import Translation
from holdfast.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two stores: its name, how its variables begin, its labels and its buckets (variable, usual name)."""

    name: str
    start: str
    labels: tuple[str, ...]
    buckets: tuple[tuple[str, str], ...]


INTERNAL: Final = _Side(
    "internal",
    "INTERNAL_STORAGE",
    ("internal", "hot"),
    (
        ("INTERNAL_BUCKET_WEIGHTS", "model-weights"),
        ("INTERNAL_BUCKET_CHECKPOINTS", "training-checkpoints"),
        ("INTERNAL_BUCKET_SCHEMAS", "config-schemas"),
    ),
)
EXTERNAL: Final = _Side(
    "external",
    "EXTERNAL_STORAGE",
    ("external", "cold"),
    (("EXTERNAL_BUCKET_DATASETS", "training-datasets"),),
)
SIDES: Final = (INTERNAL, EXTERNAL)
_PUBLIC: Final = "EXTERNAL_STORAGE_PUBLIC_ENDPOINT"
_ENDPOINTS: Final = ("AWS_S3_ENDPOINT_URL", "S3_ENDPOINT")
_BUCKETS: Final = ("S3_BUCKET_DATASETS", "R2_BUCKET_NAME")
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "R2_ACCESS_KEY", "MINIO_ACCESS_KEY", "MINIO_ROOT_USER")
_SECRETS: Final = ("AWS_SECRET_ACCESS_KEY", "R2_SECRET_KEY", "MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD")

#: Every variable that is understood here, with what it means.
VARIABLES: Final[Mapping[str, str]] = {
    **{
        f"{side.start}_{name}": meaning.format(side.name)
        for side in SIDES
        for name, meaning in (
            ("ENDPOINT", "URL of the server of the store `{}`"),
            ("ACCESS_KEY", "access key of the store `{}`"),
            ("SECRET_KEY", "secret key of the store `{}`"),
            (
                "BUCKET",
                "bucket on that server that holds all contents of `{}`; its first bucket's name when missing",
            ),
            ("REGION", "region that requests to `{}` are signed for; `auto` on R2, else `us-east-1`"),
        )
    },
    **{
        name: f"bucket whose objects belong in the store `{side.name}`, `{usual}` when missing"
        for side in SIDES
        for name, usual in side.buckets
    },
    _PUBLIC: "URL of the server of the store `external` in links for browsers, where it is another one",
    "AWS_S3_ENDPOINT_URL": "URL of the single server of before; serves where a store has no endpoint of its own",
    "S3_ENDPOINT": "the same, where `AWS_S3_ENDPOINT_URL` is missing",
    "S3_BUCKET_DATASETS": "bucket on the single server of before; without one its endpoint is not looked at",
    "R2_BUCKET_NAME": "the same, where `S3_BUCKET_DATASETS` is missing",
    "AWS_ACCESS_KEY_ID": "access key for the single server of before",
    "AWS_SECRET_ACCESS_KEY": "secret key for the single server of before",
    "R2_ACCESS_KEY": "access key for the single server of before, where no other is given",
    "R2_SECRET_KEY": "secret key for the single server of before, where no other is given",
}


def asks(environ: Mapping[str, str]) -> bool:
    """Return whether the variables describe two stores; a stray endpoint without a bucket does not."""
    own = any(environ.get(f"{side.start}_ENDPOINT") for side in SIDES)
    return own or bool(_first(environ, _ENDPOINTS)[0] and _first(environ, _BUCKETS)[0])


def translate(made: Translation, environ: Mapping[str, str], *, has_placement: bool = False) -> None:
    """Add both stores to `made`, and with them where their buckets belong, unless that is said in another way.

    Raises:
        ConfigError: naming the variable that is missing or wrong.
    """
    for side in SIDES:
        _store(made, environ, side)
    buckets = {side.name: [environ.get(name) or usual for name, usual in side.buckets] for side in SIDES}
    if twice := sorted(set(buckets[INTERNAL.name]) & set(buckets[EXTERNAL.name])):
        raise ConfigError(
            f"the bucket {twice[0]} is named by an INTERNAL_BUCKET_… and by an EXTERNAL_BUCKET_… variable; it can"
            " belong in one store only"
        )
    told = next((name for name in (*_ENDPOINT_OF.values(), *_ENDPOINTS) if environ.get(name)), _ENDPOINTS[0])
    made.put("buckets", [name for names in buckets.values() for name in names], told)
    if has_placement:
        return
    rules = [
        {"name": name, "match": {"buckets": names}, "stores": [name], "inline": 0}
        for name, names in buckets.items()
    ]
    made.put("placement.rules", rules, told)
    made.put("placement.stores", [INTERNAL.name], told)


_ENDPOINT_OF: Final = {side.name: f"{side.start}_ENDPOINT" for side in SIDES}


def _store(made: Translation, environ: Mapping[str, str], side: _Side) -> None:
    place = f"stores.{side.name}"
    source = _ENDPOINT_OF[side.name]
    endpoint = environ.get(source, "").strip()
    single = not endpoint
    if single:
        endpoint, source = _first(environ, _ENDPOINTS)
    if not endpoint:
        other = next(one for one in SIDES if one is not side)
        raise ConfigError(
            f"{_ENDPOINT_OF[side.name]} must be set beside {_ENDPOINT_OF[other.name]}; it may be the same server"
        )
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"{source} must be a URL with http:// or https://")
    made.put(f"{place}.driver", "s3", source)
    made.put(f"{place}.endpoint", endpoint, source)
    if endpoint.startswith("http://"):
        made.put(f"{place}.allow_http", True, source)
    region = environ.get(f"{side.start}_REGION", "")
    usual = (
        "auto" if (urlsplit(endpoint).hostname or "").endswith(".r2.cloudflarestorage.com") else "us-east-1"
    )
    made.put(f"{place}.region", region or usual, f"{side.start}_REGION")
    if side is EXTERNAL and (public := environ.get(_PUBLIC, "").strip()):
        made.put(f"{place}.public_endpoint", public, _PUBLIC)
    made.put(f"{place}.bucket", *_bucket(environ, side, single=single))
    made.put(f"{place}.prefix", f"holdfast-{side.name}", source)
    made.put(f"{place}.labels", list(side.labels), source)
    for setting, names in (("access_key", _KEYS), ("secret_key", _SECRETS)):
        own = f"{side.start}_{setting.upper()}"
        _credential(made, environ, f"{place}.{setting}", (own, *names) if single else (own,))


def _bucket(environ: Mapping[str, str], side: _Side, *, single: bool) -> tuple[str, str]:
    """Return the bucket on the server, and the variable that names it."""
    first, usual = side.buckets[0]
    for name in (f"{side.start}_BUCKET", *(_BUCKETS if single else ()), first):
        if value := environ.get(name):
            return value, name
    return usual, first


def _credential(made: Translation, environ: Mapping[str, str], setting: str, names: tuple[str, ...]) -> None:
    for name in names:
        if value := variable(environ, name):
            made.put(setting, value, name)
            return
    raise ConfigError(f"{' or '.join(names)} must be set (or {names[0]}_FILE); there is no default password")


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """Return the first of the variables that is set, and its name."""
    for name in names:
        if value := environ.get(name, "").strip():
            return value, name
    return "", names[0]
