"""The page that lists the operations of the door, and sends simple ones. It needs nothing but itself."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange

_VERBS: Final = ("get", "head", "post", "put", "patch", "delete", "options")
_FOLDER: Final = files("holdfast.api.pages")
_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)


class DocsPage:
    """Serves the page; made of the OpenAPI document once, when it is first asked for."""

    def __init__(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        self._describe = describe
        self._made: tuple[bytes, bytes] | None = None

    async def show(self, exchange: Exchange) -> None:
        """Answer with the page for people."""
        if self._made is None:
            self._made = page(self._describe())
        policy, body = self._made
        headers = [*_HEADERS, (b"content-security-policy", policy), (b"content-length", b"%d" % len(body))]
        await exchange.answer(200, headers, body)


async def nothing_here(exchange: Exchange) -> None:
    """Say where to look: there is nothing at the root, for anybody."""
    raise HttpRefusalError(
        404, "there is nothing at this path; see /docs for people, /openapi.json for programs"
    )


async def to_page(exchange: Exchange) -> None:
    """Send who asked for the page with a slash behind it to the page."""
    await exchange.answer(308, [(b"location", b"../docs"), (b"content-length", b"0")])


def page(described: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the content security policy and the HTML of the page for an OpenAPI document."""
    style, script = _text("docs.css"), _text("docs.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    body = "\n".join(_operations(described))
    filled = {
        "style": style,
        "script": script,
        "version": escape(str(described["info"]["version"])),
        "operations": body,
    }
    html = re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], _text("docs.html"))
    return policy.encode(), html.encode()


def _operations(described: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in described["paths"].items():
        for verb in _VERBS:
            if verb in operations:
                yield _operation(verb, path, operations[verb])


def _operation(verb: str, path: str, said: Mapping[str, Any]) -> str:
    fields = "".join(_field(param) for param in said.get("parameters", ()))
    content = said.get("requestBody", {}).get("content", {})
    body = ""
    if "application/json" in content:
        body = '<label>Body (JSON)<textarea name="body" rows="4">{}</textarea></label>'
    elif content:
        body = "<p>The body is bytes or a form: send it with curl or a client.</p>"
    tried = "" if content and "application/json" not in content else '<button type="button">Send</button>'
    return (
        f'<details data-method="{verb.upper()}" data-path="{escape(path)}">'
        f"<summary><b>{verb.upper()}</b> <code>{escape(path)}</code> {escape(said.get('summary', ''))}</summary>"
        f"<p>{escape(said.get('description', ''))}</p>{fields}{body}{tried}<pre hidden></pre></details>"
    )


def _field(param: Mapping[str, Any]) -> str:
    name, where = escape(param["name"]), escape(param["in"])
    needed = " (needed)" if param.get("required") else ""
    return (
        f"<label>{name} <small>{where}{needed}: {escape(param.get('description', ''))}</small>"
        f'<input data-in="{where}" name="{name}" autocomplete="off"></label>'
    )


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
