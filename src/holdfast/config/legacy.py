"""The variables that services written for MinIO know (`PORT`, `MINIO_ENDPOINT`, …), translated into our settings.

They weigh less than `HOLDFAST_*` variables and more than the configuration file. Those about the store make one called
`minio`, unless stores are named in any other way: so a stray variable of another program never adds a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.config import artifacts, naas, near_far
from holdfast.config.secrets import variable
from holdfast.config.translation import Translation
from holdfast.core.errors import ConfigError

STORE: Final = "minio"  #: the name of the store that the variables make
DEFAULT_BUCKET: Final = "tensorfleet"
_ENDPOINT: Final = "minio:9000"
_WEAK: Final = "minioadmin"
_PLAIN: Final = {
    "PORT": "port",
    "DEFAULT_BUCKET": "default_bucket",
    "MAX_FILE_SIZE": "limits.max_object_size",
    "RETENTION_DAYS": "default_retention_days",
}
#: Any of these says that a store is meant; `MINIO_ROOT_*` alone may belong to a MinIO server beside us.
_ASKS: Final = (
    "STORAGE_TYPE",
    "MINIO_ENDPOINT",
    "MINIO_ACCESS_KEY",
    "MINIO_ACCESS_KEY_FILE",
    "MINIO_SECRET_KEY",
    "MINIO_SECRET_KEY_FILE",
)
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})
#: Every variable that is understood here, with what it means.
VARIABLES: Final[Mapping[str, str]] = {
    "PORT": "port to listen on",
    "STORAGE_TYPE": "`minio`, `s3` or `aws_s3` (the variables below), or `local` (the data directory)",
    "MINIO_ENDPOINT": f"`host:port` or URL of the server; with STORAGE_TYPE=minio `{_ENDPOINT}` when missing",
    "MINIO_ACCESS_KEY": "access key; `MINIO_ROOT_USER` when missing",
    "MINIO_SECRET_KEY": "secret key; `MINIO_ROOT_PASSWORD` when missing",
    "MINIO_ROOT_USER": "access key where no other is given",
    "MINIO_ROOT_PASSWORD": "secret key where no other is given",
    "MINIO_SECURE": "`true`: https, for an endpoint without scheme",
    "MINIO_REGION": "region that requests are signed for, `us-east-1` when missing",
    "MINIO_BUCKET": "bucket on the server that holds all contents; the default bucket's name when missing",
    "DEFAULT_BUCKET": "bucket of uploads that name none; made at the start",
    "MAX_FILE_SIZE": "largest object, with unit (`100MB`); no limit when missing",
    "RETENTION_DAYS": "days after which contents of buckets made from now on are removed; never when missing or 0",
    **near_far.VARIABLES,
    **naas.VARIABLES,
    **artifacts.VARIABLES,
}


def translate(
    environ: Mapping[str, str], *, has_stores: bool = False, has_placement: bool = False
) -> Translation:
    """Return what the variables say; `has_stores` and `has_placement` when these are configured in another way.

    Raises:
        ConfigError: naming the variable that is wrong.
    """
    made = Translation()
    for name, setting in _PLAIN.items():
        value = environ.get(name, "")
        if value and not (name == "RETENTION_DAYS" and value.strip() == "0"):
            made.put(setting, value, name)
    artifacts.translate(made, environ)
    if not has_stores and near_far.asks(environ):
        near_far.translate(made, environ, has_placement=has_placement)
    elif not has_stores and any(environ.get(name) for name in _ASKS):
        _store(made, environ)
    elif not has_stores and naas.asks(environ):
        naas.translate(made, environ)
    for name, source in made.origins.items():
        if not environ.get(source):
            made.origins[name] = f"{source}_FILE" if environ.get(f"{source}_FILE") else "default"
    return made


def warnings(environ: Mapping[str, str]) -> list[str]:
    """Return what an operator must hear about these variables."""
    for name in (
        "MINIO_SECRET_KEY",
        "MINIO_ROOT_PASSWORD",
        "INTERNAL_STORAGE_SECRET_KEY",
        "EXTERNAL_STORAGE_SECRET_KEY",
    ):
        if variable(environ, name) == _WEAK:
            return [
                f"{name} is {_WEAK!r}, the password that everybody knows: whoever reaches the S3 server can read and"
                " delete every object. Set another one there and here."
            ]
    return []


def bucket_variables(environ: Mapping[str, str], store: str) -> str:
    """Return which variables name the bucket on the server of a store that variables made; "" for any other store."""
    sides = {side.name: side for side in near_far.SIDES} if near_far.asks(environ) else {}
    if store in sides:
        return f"{sides[store].start}_BUCKET or {sides[store].buckets[0][0]}"
    asked = any(environ.get(name) for name in _ASKS)
    return "MINIO_BUCKET or DEFAULT_BUCKET" if asked and store == STORE else ""


def _store(made: Translation, environ: Mapping[str, str]) -> None:
    kind = environ.get("STORAGE_TYPE", "").strip().lower() or "minio"
    if kind == "local":
        return
    if kind == "gcs":
        raise ConfigError(
            "STORAGE_TYPE=gcs is not served yet; Google's S3 dialect is: STORAGE_TYPE=s3 with"
            " MINIO_ENDPOINT=https://storage.googleapis.com and an HMAC key"
        )
    if kind not in ("minio", "s3", "aws_s3"):
        raise ConfigError(f"STORAGE_TYPE is {kind[:40]!r}; use minio, s3, aws_s3 or local")
    place = f"stores.{STORE}"
    made.put(f"{place}.driver", "s3", "STORAGE_TYPE")
    endpoint = _endpoint(environ, _ENDPOINT if kind == "minio" else "")
    made.put(f"{place}.endpoint", endpoint, "MINIO_ENDPOINT")
    if endpoint.startswith("http://"):
        given = environ.get("MINIO_ENDPOINT", "").strip().startswith("http://")
        made.put(f"{place}.allow_http", True, "MINIO_ENDPOINT" if given else "MINIO_SECURE")
    made.put(f"{place}.region", environ.get("MINIO_REGION") or "us-east-1", "MINIO_REGION")
    bucket, source = environ.get("MINIO_BUCKET", ""), "MINIO_BUCKET"
    if not bucket:
        bucket, source = environ.get("DEFAULT_BUCKET", ""), "DEFAULT_BUCKET"
    if not bucket:
        bucket, source = artifacts.server_bucket(environ)
    if not bucket:
        bucket, source = DEFAULT_BUCKET, "DEFAULT_BUCKET"
    made.put(f"{place}.bucket", bucket, source)
    _credentials(made, environ, place, kind)


def _credentials(made: Translation, environ: Mapping[str, str], place: str, kind: str) -> None:
    missing = []
    for setting, names in (
        ("access_key", ("MINIO_ACCESS_KEY", "MINIO_ROOT_USER")),
        ("secret_key", ("MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD")),
    ):
        for name in names:
            if value := variable(environ, name):
                made.put(f"{place}.{setting}", value, name)
                break
        else:
            missing.append(names[0])
    if len(missing) == 2 and kind != "minio":
        made.put(f"{place}.credentials", "environment", "STORAGE_TYPE")
    elif missing:
        raise ConfigError(
            f"{' and '.join(missing)} must be set (or {missing[-1]}_FILE); there is no default password"
        )


def _endpoint(environ: Mapping[str, str], default: str) -> str:
    """Return the server's URL; MINIO_SECURE chooses the scheme where the endpoint has none."""
    given = environ.get("MINIO_ENDPOINT", "").strip() or default
    secure = _secure(environ)
    scheme, mark, _ = given.partition("://")
    if not given or not mark:
        return f"{'https' if secure else 'http'}://{given}" if given else ""
    if scheme not in ("http", "https"):
        raise ConfigError("MINIO_ENDPOINT must be host:port, or a URL with http:// or https://")
    if secure is not None and secure != (scheme == "https"):
        raise ConfigError(
            f"MINIO_SECURE={environ['MINIO_SECURE']} contradicts MINIO_ENDPOINT, which begins with {scheme}://"
        )
    return given


def _secure(environ: Mapping[str, str]) -> bool | None:
    text = environ.get("MINIO_SECURE", "").strip().lower()
    if not text:
        return None
    if text not in _YES | _NO:
        raise ConfigError("MINIO_SECURE must be true or false")
    return text in _YES
