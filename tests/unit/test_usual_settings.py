"""What is told of an S3 bucket in a moment is what its settings say in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.backends import registry
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.usual import Usual, usual

pytestmark = pytest.mark.unit
ENDPOINTS = [
    "",
    "https://s3.eu-central-1.amazonaws.com",
    "https://abc.r2.cloudflarestorage.com",
    "http://127.0.0.1:9000",
    "https://minio.example.org:64999",
]


def said(**more: Any) -> dict[str, Any]:
    return {"bucket": "b", "endpoint": "", "credentials": "environment", **more}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("more", [{}, {"region": "eu-west-3"}, {"ca_file": "/etc/ca.pem"}])
def test_it_is_what_the_settings_say(endpoint: str, more: dict[str, str]) -> None:
    values = said(endpoint=endpoint, bucket="Some_bucket.name", allow_http=True, **more)
    quick, whole = usual(values), registry.parse("s3", values)
    assert quick is not None
    for name in Usual._fields:
        assert getattr(quick, name) == getattr(whole, name), name
    assert quick.tls == whole.tls  # type: ignore[attr-defined]
    assert Address.of(quick) == Address.of(whole)
    assert quick.ca_file is None or isinstance(quick.ca_file, Path)


@pytest.mark.parametrize(
    "more",
    [
        {"credentials": "file"},
        {"credentials": "static"},
        {"prefix": "x"},
        {"sse": "sse-s3"},
        {"bucket": ""},
        {"bucket": "a/b"},
        {"bucket": "ä"},
        {"bucket": 123},
        {"endpoint": None},
        {"region": None},
        {"ca_file": 5},
        {"ca_file": ""},
        {"region": "EU West"},
        {"endpoint": "http://127.0.0.1:9000"},
        {"endpoint": "https://host:65536"},
        {"endpoint": "https://host:0"},
        {"endpoint": "https://host/path"},
        {"endpoint": "https://host?query"},
        {"endpoint": "https://key:secret@host"},
        {"endpoint": "https://host\n"},
        {"endpoint": "ftp://host"},
        {"endpoint": "https://[::1]:9000"},
    ],
)
def test_all_that_is_not_usual_is_for_the_settings(more: dict[str, Any]) -> None:
    assert usual(said(**more)) is None
