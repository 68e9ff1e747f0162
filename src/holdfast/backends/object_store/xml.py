"""XML as S3 speaks it: answers read without trust, the few request bodies written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree  # only ever fed by `parse`, which refuses what makes XML dangerous

MAX_BYTES = 16 << 20
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class XmlError(Exception):
    """The body is not XML that we read: malformed, too large, or with a document type or entities."""


def escape(text: str) -> str:
    """Return a text as it stands between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def parse(body: bytes) -> ElementTree.Element:
    """Return the root element with every namespace dropped.

    Raises:
        XmlError: also for a DTD or entity declaration, which can make a small body huge or read files.
    """
    if len(body) > MAX_BYTES:
        raise XmlError(f"an answer of {len(body)} bytes is too large")
    try:
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise XmlError("an answer with a document type is not read")
        root = ElementTree.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        raise XmlError("the answer is not well-formed XML") from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def error_code(body: bytes) -> str:
    """Return the `Code` of an error answer, "" when the body holds none."""
    if b"Error" not in body:
        return ""  # most bodies that are looked at are pages of listings
    try:
        root = parse(body)
    except XmlError:
        return ""
    return (root.findtext("Code") or "").strip() if root.tag == "Error" else ""


class SentPart(NamedTuple):
    """A part that the server has: its number, its ETag as given, and the checksum that was sent with it."""

    number: int
    etag: str
    algorithm: str = ""
    checksum: str = ""

    def xml(self) -> str:
        """Return it as CompleteMultipartUpload names it."""
        tag = f"Checksum{self.algorithm.upper()}"
        checksum = f"<{tag}>{self.checksum}</{tag}>" if self.checksum else ""
        return (
            f"<Part><PartNumber>{self.number}</PartNumber><ETag>{escape(self.etag)}</ETag>{checksum}</Part>"
        )


def completion(parts: Iterable[SentPart]) -> bytes:
    """Return the body of CompleteMultipartUpload for `parts` in order."""
    items = "".join(part.xml() for part in parts)
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{items}</CompleteMultipartUpload>'.encode()


def deletion(keys: Sequence[str]) -> bytes:
    """Return the body of DeleteObjects, asking for the failures only."""
    items = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f'<Delete xmlns="{_NAMESPACE}"><Quiet>true</Quiet>{items}</Delete>'.encode()
