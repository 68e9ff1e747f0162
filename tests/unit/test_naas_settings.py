"""What describes a storage of Naas: settings, variables, `config.yaml`; and what its answers may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.backends.naas import NaasSettings, answer, open_naas
from holdfast.backends.naas.answer import read
from holdfast.config import legacy
from holdfast.config.importing import import_file
from holdfast.core import errors
from holdfast.core.backend import Capability
from holdfast.core.clock import Environment

pytestmark = pytest.mark.unit

KEY = "canary-naas-key"
WANTED = {"api_key": KEY, "workspace_id": "ws-1", "storage_name": "abi"}
NOW = 1_700_000_000_000_000
KEYS = {
    "endpoint_url": "s3://api-naas-storage/ws-1/abi",
    "access_key_id": "AK",
    "secret_key": "canary-secret",
    "session_token": "canary-token",
    "expiration": "2023-11-14 23:13:20+0000",
    "region_name": "eu-west-3",
}


def body(error: Any = None, **changed: Any) -> bytes:
    told = {"error": {"error": 0, "message": ""}} if error is None else {"error": error}
    return json.dumps({"credentials": {"s3": {**KEYS, **changed}}, **told}).encode()


# -- answers -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [None, 0, {"error": 0}, {"error": "NO_ERROR"}, {}, ""])
def test_an_answer_is_read_whole(error: Any) -> None:
    found = read(body(error), store="s", now=NOW)
    assert (found.bucket, found.prefix, found.region) == ("api-naas-storage", "ws-1/abi", "eu-west-3")
    assert (found.credentials.access_key, found.credentials.secret_key) == ("AK", "canary-secret")
    assert (found.credentials.token, found.expires) == ("canary-token", NOW + 3600_000_000)
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-15 00:13:20+01:00", 3600),
        ("2023-11-14T23:13:20Z", 3600),
        ("2023-11-14 23:13:20", 3600),
        (None, 1200),
    ],
)
def test_the_end_is_read_with_its_offset(text: str | None, seconds: int) -> None:
    assert read(body(expiration=text), store="s", now=NOW).expires == NOW + seconds * 1_000_000


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://b/ws/abi", ("b", "ws/abi")),
        ("s3://b/ws/abi/deeper/", ("b", "ws/abi/deeper")),
        ("s3://b", ("b", "")),
        ("s3://b/", ("b", "")),
    ],
)
def test_the_place_is_read(uri: str, place: tuple[str, str]) -> None:
    assert answer.place(uri, "s") == place


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (body({"error": 1}), errors.ConflictError),
        (body({"error": 2}), errors.ConfigError),
        (body({"error": "2"}), errors.ConfigError),
        (body({"error": "STORAGE_NOT_FOUND"}), errors.ConfigError),
        (body({"error": "STORAGE_ALREADY_EXISTS"}), errors.ConflictError),
        (body({"error": 77}), errors.UnavailableError),
        (body({"error": "WHATEVER"}), errors.UnavailableError),
        (b'{"credentials": null}', errors.UnauthenticatedError),
        (b"[]", errors.UnavailableError),
        (b"<html>", errors.UnavailableError),
        (body(access_key_id=""), errors.UnauthenticatedError),
        (body(secret_key=None), errors.UnauthenticatedError),
        (body(endpoint_url="https://b/x"), errors.UnauthenticatedError),
        (body(endpoint_url="s3:///x"), errors.UnauthenticatedError),
        (body(expiration="soon"), errors.UnauthenticatedError),
        (body(expiration="2023-11-14 22:13:20+0000"), errors.UnauthenticatedError),
    ],
)
def test_what_an_answer_lacks_or_tells_has_its_kind(text: bytes, kind: type[errors.HoldfastError]) -> None:
    with pytest.raises(kind) as caught:
        read(text, store="s", now=NOW)
    assert "canary" not in str(caught.value)


# -- settings ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"api_key": ""}, "api_key"),
        ({"workspace_id": ""}, "workspace_id"),
        ({"storage_name": "a/b"}, "one name"),
        ({"api_base": "http://api.naas.ai"}, "https"),
        ({"api_base": "https://u:p@api.naas.ai"}, "nothing but"),
        ({"api_base": "https://api.naas.ai?x=1"}, "nothing but"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NaasSettings.model_validate({**WANTED, **change})
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


def test_what_s3_would_refuse_is_told_when_it_is_opened() -> None:
    for change, said in (
        ({"s3_endpoint": "http://s3.example.org"}, "allow_http"),
        ({"s3_endpoint": "s3.example.org"}, "s3_endpoint"),
        ({"prefix": "a/../b"}, "prefix"),
    ):
        with pytest.raises(errors.ConfigError, match=said):
            open_naas("n", NaasSettings.model_validate({**WANTED, **change}), environment=Environment())


def test_what_it_offers_is_known_before_naas_is_asked() -> None:
    backend = open_naas("n", NaasSettings.model_validate(WANTED), environment=Environment())
    assert Capability.PRESIGN | Capability.IF_ABSENT in backend.capabilities
    assert backend.limits.max_name_bytes == 1024 - len("ws-1/abi/")
    assert KEY not in repr(NaasSettings.model_validate(WANTED))


# -- variables and config.yaml -------------------------------------------------------------------------------------
VARIABLES = {"NAAS_API_KEY": KEY, "NAAS_WORKSPACE_ID": "ws-1", "NAAS_STORAGE_NAME": "abi"}


def test_the_variables_make_a_store() -> None:
    further = {
        "NAAS_PYTHON_API_BASE_URL": "https://naas.example.org",
        "NAAS_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    found = legacy.translate({**VARIABLES, **further})
    assert found.values["stores"] == {
        "naas": {
            "driver": "naas",
            **WANTED,
            "api_base": "https://naas.example.org",
            "s3_endpoint": "http://127.0.0.1:9",
            "allow_http": True,
        }
    }
    assert found.origins["stores.naas.api_key"] == "NAAS_API_KEY"


def test_a_key_alone_makes_none_and_a_storage_alone_is_a_mistake() -> None:
    assert "stores" not in legacy.translate({"NAAS_API_KEY": KEY, "NAAS_WORKSPACE_ID": "ws-1"}).values
    assert "stores" not in legacy.translate(VARIABLES, has_stores=True).values
    for missing in ("NAAS_API_KEY", "NAAS_WORKSPACE_ID"):
        with pytest.raises(errors.ConfigError, match=missing) as caught:
            legacy.translate({name: value for name, value in VARIABLES.items() if name != missing})
        assert KEY not in str(caught.value)


def test_the_key_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    given = {**VARIABLES, "NAAS_API_KEY": "", "NAAS_API_KEY_FILE": str(path)}
    assert legacy.translate(given).values["stores"]["naas"]["api_key"] == KEY


CONFIG = """
# written by a template
config:
  workspace_id: ws-1
  storage_name: abi
  github_project_id: 12
  space_name: "my space"
pipelines:
  - name: one
    token: canary-pipeline
"""


@pytest.mark.parametrize("environ", [{}, {"NAAS_API_KEY": KEY}])
def test_a_config_yaml_is_imported(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    made = import_file(path, environ)
    text = made.text()
    assert 'driver = "naas"' in text
    assert 'workspace_id = "ws-1"' in text
    assert 'storage_name = "abi"' in text
    assert "config.space_name: says nothing about storage" in text
    assert "canary" not in text
    assert made.secrets == ({"stores.naas.api_key": KEY} if environ else {})
    assert "HOLDFAST_STORES__NAAS__API_KEY" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config:\n  storage_name: abi\n", "workspace_id"),
        ("config:\n  storage_name: [a]\n  workspace_id: x\n", "storage_name"),
        ("other: 1\n", "no configuration"),
        ("- 1\n", "table"),
        ("a: b: c\n", "line 1"),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_yaml_that_means_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError, match=said):
        import_file(path, {})
