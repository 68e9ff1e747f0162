"""Requests for every operation that the service describes, about things that are there or about things that are not."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.doors.rest_service import encode_form

Document = Mapping[str, Any]
METHODS = ("get", "head", "put", "post", "patch", "delete")
_TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True)
class Names:
    """What a request names."""

    bucket: str
    key: str
    file_id: str
    upload_id: str
    tus_id: str
    batch_id: str
    job_id: str
    key_id: str
    tenant: str
    job: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no refusal may show to those who do not know it already, and no listing at all."""
        return self.bucket, self.key, self.file_id, self.upload_id, self.tus_id, self.key_id, self.job


@dataclass(frozen=True)
class Operation:
    """One operation of the description."""

    method: str
    path: str
    said: Mapping[str, Any]
    document: Document = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def open(self) -> bool:
        """Needs no token."""
        return self.said.get("security") == []

    def request(self, names: Names) -> tuple[str, str, bytes | None, dict[str, str]]:
        """Return method, path, body and headers of a request about `names` that is as it should be."""
        path = re.sub(r"\{(\w+)\}", lambda piece: quote(self._piece(piece[1], names), safe="/"), self.path)
        headers: dict[str, str] = {}
        query: dict[str, str] = {}
        for parameter in self.said["parameters"]:
            name = parameter["name"]
            if parameter["in"] == "query" and (
                parameter.get("required") or name in ("bucket", "key", "model_id")
            ):
                query[name] = self._piece(name, names)
        body, kind = self._body(names)
        if kind:
            headers["Content-Type"] = kind
        if self.path.startswith("/api/v1/tus"):
            place = f"bucket {_b64(names.bucket)},key {_b64(names.key)}"
            headers |= {**_TUS, "Upload-Length": "3", "Upload-Metadata": place, "Upload-Offset": "0"}
            if self.method == "post" and "{" in self.path:
                headers["X-HTTP-Method-Override"] = "PATCH"
            if self.method == "patch" or "X-HTTP-Method-Override" in headers:
                headers["Content-Type"] = "application/offset+octet-stream"
        if self.path == "/upload":
            headers["X-Bucket"] = names.bucket
        return self.method.upper(), path + ("?" + urlencode(query) if query else ""), body, headers

    def _piece(self, name: str, names: Names) -> str:
        if name == "upload_id" and self.path.startswith("/api/v1/tus"):
            return names.tus_id
        if name == "name":
            return names.bucket
        if name == "filename":
            return names.key
        if name in ("version_id", "model_id"):
            return names.file_id
        known = {**vars_of(names), "number": "1"}
        return known.get(name, "1")

    def _body(self, names: Names) -> tuple[bytes | None, str]:
        content = self.said.get("requestBody", {}).get("content", {})
        if "multipart/form-data" in content:
            about = json.dumps({"job_id": names.job_id, "name": "n"})
            fields = (("bucket", names.bucket), ("key", names.key), ("metadata", about))
            parts = [(name, None, value.encode()) for name, value in fields]
            return encode_form(*parts, ("file", "f.txt", b"abc")), "multipart/form-data; boundary=edge"
        if "application/json" in content:
            schema = content["application/json"]["schema"]
            job = {"job_id": names.job_id, "status": "COMPLETED"}
            sample = self._sample("", schema, names) if "$ref" in schema else job
            return json.dumps(sample).encode(), "application/json"
        if content:
            return b"abc", "application/octet-stream"
        return (None if self.method in ("get", "head", "delete") else b""), ""

    def _sample(self, name: str, schema: Mapping[str, Any], names: Names) -> Any:
        """Return a value that fits `schema` and names what it can."""
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "anyOf" in schema:
            schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
            return self._sample(name, schema, names)
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type")
        if name == "tags":
            return {"colour": "gold"}
        if name == "id":
            return "holdfast:no-such-token"
        if name == "kind" and self.path.startswith(("/api/v1/background-jobs", "/api/v1/schedules")):
            return "mirror"
        if name == "cron":
            return "@every 3600"
        if kind == "object":
            wanted = set(schema.get("required", ())) | (_TELLING & set(schema.get("properties", {})))
            wanted |= {"prefix"} if name == "target" and "prefix" in schema["properties"] else set()
            return {one: self._sample(one, schema["properties"][one], names) for one in sorted(wanted)}
        if kind == "array":
            inner = schema.get("items") or {}
            return [self._sample(name.removesuffix("s"), inner, names)] if name in _NONEMPTY else []
        if kind in ("integer", "number"):
            return 1
        if kind == "boolean":
            return False
        if name == "name":
            return names.bucket if "Bucket" in json.dumps(self.said.get("requestBody")) else "some-name"
        return vars_of(names).get(name, "x")


_NONEMPTY = ("keys", "parts")
#: Members that are worth naming although they may be missing.
_TELLING = {"bucket", "key", "keys", "id", "tags", "target"}


def vars_of(names: Names) -> dict[str, str]:
    return {name: getattr(names, name) for name in Names.__dataclass_fields__}


def operations(document: Document) -> Iterator[Operation]:
    """Yield every operation."""
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            if method in METHODS:
                yield Operation(method, path, said, document)


def _b64(text: str) -> str:
    return b64encode(text.encode()).decode()
