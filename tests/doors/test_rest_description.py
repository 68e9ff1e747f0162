"""The description of the door: accepted by generators, complete, and true."""

from __future__ import annotations

import inspect
import json
from typing import Any

import openapi_spec_validator
import pytest
import schemathesis

from holdfast.api import listing, reading, uploading, uploads, writing
from holdfast.api.openapi import reference
from tests.doors.fuzz_rest import fuzz
from tests.doors.rest_service import Service

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def page(rest_service: Service) -> Any:
    return rest_service.ask("GET", "/openapi.json").json


def test_an_independent_validator_accepts_it(page: Any) -> None:
    openapi_spec_validator.validate(page)


def test_a_validator_would_refuse_a_broken_one(page: Any) -> None:
    broken = {**page, "paths": {"/x": {"get": {"responses": {"200": {}}}}}}
    with pytest.raises(Exception, match="description"):
        openapi_spec_validator.validate(broken)


def test_a_generator_loads_every_operation(page: Any) -> None:
    schema = schemathesis.openapi.from_dict(page)
    operations: list[Any] = list(schema.get_all_operations())
    found = {(one.ok().method.upper(), one.ok().path) for one in operations}
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert (method, "/api/v1/objects/{bucket}/{key}") in found
    for pair in (
        ("POST", "/api/v1/upload"),
        ("POST", "/api/v1/upload/stream"),
        ("GET", "/api/v1/download/{bucket}/{key}"),
        ("HEAD", "/api/v1/download/{bucket}/{key}"),
        ("GET", "/api/v1/list/{bucket}"),
        ("DELETE", "/api/v1/delete/{bucket}/{key}"),
        ("GET", "/api/v1/buckets"),
        ("POST", "/api/v1/buckets"),
        ("GET", "/api/v1/buckets/{name}/files"),
        ("DELETE", "/api/v1/buckets/{name}"),
        ("GET", "/health"),
    ):
        assert pair in found


#: Paths that answer without a token; of the metrics because this service runs in development mode.
OPEN = (
    "/health",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/metrics",
    "/docs",
    "/docs/",
    "/",
    "/api/v1/session",
)
HELPERS = {"send_object", "describe_object", "store_file"}  # of handlers for several kinds of path


def test_every_handler_is_described(page: Any) -> None:
    described = {
        operation["description"] for methods in page["paths"].values() for operation in methods.values()
    }
    rooms = (listing, reading, uploading, uploads, writing)
    for room in rooms:
        for name in room.__dict__:
            handler = getattr(room, name)
            own = getattr(handler, "__module__", "") == room.__name__ and not name.startswith("_")
            if own and name not in HELPERS and inspect.iscoroutinefunction(handler):
                assert " ".join((handler.__doc__ or "").split()) in described, name


def test_every_operation_says_how_it_fails_and_what_it_needs(page: Any) -> None:
    assert page["security"] == [{"token": []}]
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
            if path in OPEN or method == "options":
                assert operation["security"] == []
            else:
                assert operation.get("security") in (
                    None,
                    [{"token": []}, {}],
                )  # the latter: of public buckets
    ids = [operation["operationId"] for methods in page["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_answers_are_as_described(rest_service: Service, page: Any) -> None:
    """Real answers, held against the schemas by an independent validator."""
    schema = schemathesis.openapi.from_dict(page)
    rest_service.put("described", b"x")
    for method, path, real in (
        ("GET", "/api/v1/buckets", "/api/v1/buckets"),
        ("GET", "/api/v1/list/{bucket}", "/api/v1/list/plain"),
        ("GET", "/api/v1/versions/{bucket}", "/api/v1/versions/plain"),
        ("GET", "/api/v1/uploads", "/api/v1/uploads?bucket=plain"),
        ("GET", "/health", "/health"),
        ("GET", "/api/v1/list/{bucket}", "/api/v1/list/absent"),
    ):
        answer = requests_answer(rest_service, method, real)
        schema[path][method].validate_response(answer)


def requests_answer(service: Service, method: str, path: str) -> Any:
    import requests

    return requests.request(method, f"http://127.0.0.1:{service.port}{path}", timeout=10)


def test_the_reference_is_what_a_server_serves(page: Any) -> None:
    made = json.loads(reference())
    page["paths"]["/metrics"]["get"].pop("security", None)  # open in development mode only
    assert made == page


def test_malformed_requests_never_break_the_door() -> None:
    report = fuzz(400, 7)
    assert report.cases >= 300
    assert not report.failures
    assert report.statuses[400] > 50
    assert sum(count for status, count in report.statuses.items() if 200 <= status < 300) > 10
