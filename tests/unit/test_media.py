"""What a bucket takes: patterns over names and types, and what the first bytes show."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import pytest

from holdfast.policy import media
from holdfast.policy.sniffing import sniff
from tests.helpers import noise

pytestmark = pytest.mark.unit


def _zip() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.txt", "a")
    return held.getvalue()


def _tar() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return held.getvalue()


def _wave() -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(100))
    return held.getvalue()


def _sqlite() -> bytes:
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE a (b)")
    return base.serialize()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SHOWN = {
    "png": (PNG, "image/png"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg"),
    "gif": (b"GIF89a\1\0\1\0", "image/gif"),
    "webp": (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
    "avif": (b"\0\0\0\x1cftypavif\0\0\0\0", "image/avif"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
    "bmp": (b"BM" + b"\x46\0\0\0" + bytes(4) + b"\x36\0\0\0" + b"\x28\0\0\0", "image/bmp"),
    "tiff": (b"II*\0\x08\0\0\0", "image/tiff"),
    "pdf": (b"%PDF-1.7\n", "application/pdf"),
    "zip": (_zip(), "application/zip"),
    "empty zip": (b"PK\5\6" + bytes(18), "application/zip"),
    "gzip": (gzip.compress(b"a"), "application/gzip"),
    "bzip2": (bz2.compress(b"a"), "application/x-bzip2"),
    "xz": (lzma.compress(b"a"), "application/x-xz"),
    "tar": (_tar(), "application/x-tar"),
    "svg": (b'<?xml version="1.0"?>\n<!-- hi -->\n<svg xmlns="x">', "image/svg+xml"),
    "svg alone": (b"\xef\xbb\xbf  <svg>", "image/svg+xml"),
    "html": (b"\n\n<!DOCTYPE HTML>\n<html>", "text/html"),
    "a script": (b"<script>alert(1)</script>", "text/html"),
    "html behind a comment": (b"<!-- x --><html >", "text/html"),
    "html in UTF-16": ("\ufeff<html>".encode("utf-16-le"), "text/html"),
    "xml": (b"<?xml version='1.0'?><a/>", "text/xml"),
    "shell": (b"#!/bin/sh\necho", "text/x-shellscript"),
    "parquet": (b"PAR1\x15\x04", "application/vnd.apache.parquet"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0", "application/x-hdf5"),
    "hdf5 behind a block": (bytes(512) + b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    "pickle 2": (pickle.dumps({"a": 1}, 2), "application/x-pickle"),
    "pickle 3": (pickle.dumps([1, 2], 3), "application/x-pickle"),
    "pickle 4": (pickle.dumps({"a": list(range(9))}, 4), "application/x-pickle"),
    "pickle 5": (pickle.dumps(("a", 2.5, "b" * 300), 5), "application/x-pickle"),
    "numpy": (b"\x93NUMPY\1\0", "application/x-npy"),
    "safetensors": ((64).to_bytes(8, "little") + b'{"a":{}}', "application/x-safetensors"),
    "sqlite": (_sqlite(), "application/vnd.sqlite3"),
    "elf": (Path(sys.executable).resolve().read_bytes()[:4096], "application/x-elf"),
    "large tiff": (b"II+\0\x08\0\0\0", "image/tiff"),
    "html behind blanks": (b" \n" * 20_000 + b"<html>", "text/html"),
    "html behind a long comment": (b"<!--" + b"x" * 60_000 + b"-->\n<script>", "text/html"),
    "a comment without end": (b"<!--" + b"x" * 70_000, "text/xml"),
    "old exe": (b"MZ\x90\0\3\0\0\0\4\0", "application/x-msdownload"),
    "exe": (b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0", "application/x-msdownload"),
    "wav": (_wave(), "audio/wav"),
    "mp3": (b"ID3\x04\0\0\0\0\0\0", "audio/mpeg"),
    "mp3 frame": (b"\xff\xfb\x90\x64" + bytes(20), "audio/mpeg"),
    "mp4": (b"\0\0\0\x20ftypisom\0\0\2\0", "video/mp4"),
    "webm": (b"\x1a\x45\xdf\xa3\x9fB\x86", "video/webm"),
    "wasm": (b"\0asm\1\0\0\0", "application/wasm"),
    "dicom": (bytes(128) + b"DICM", "application/dicom"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_bytes_show_what_they_are(name: str) -> None:
    head, kind = SHOWN[name]
    assert sniff(head) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a",
        b"id,name\n1,a\n",
        b"ID3,name\n",
        b"BM,price\n",
        b"MZ is a text that begins like a program" * 3,
        b"BZh is no archive",
        b"OTTO bought it",
        b"a < b and c > d",
        b"<thing> is not closed",
        b"<!-- neither is a short comment",
        b"\n" * 70_000,
        b'{"a": 1}',
        "Grüße".encode("utf-16"),
        "\ufeffa,b".encode(),
        bytes(4096),
        noise(4096),
    ],
)
def test_what_shows_nothing_is_not_named(head: bytes) -> None:
    assert sniff(head) is None


@pytest.mark.parametrize(
    ("patterns", "key", "declared", "taken"),
    [
        ((), "a.exe", "anything/at-all", True),
        (("image/*",), "a.png", "image/png", True),
        (("image/*",), "a.png", "Image/PNG; a=b", True),
        (("image/*",), "a.png", "text/html", False),
        (("image/png",), "a.jpg", "image/jpeg", False),
        ((".csv",), "dir/a.CSV", "text/csv", True),
        ((".csv",), "a.csv", "application/vnd.ms-excel", True),
        ((".csv",), "a.csv", "text/html", False),
        ((".html",), "a.html", "text/html", True),
        ((".csv",), "a.csv.exe", "text/csv", False),
        ((".csv",), "csv", "text/csv", False),
        (("image/*", ".csv"), "a.csv", "application/octet-stream", True),
        (("*/*",), "a", "x/y", True),
    ],
)
def test_patterns_take_types_and_extensions(
    patterns: tuple[str, ...], key: str, declared: str, taken: bool
) -> None:
    assert media.allowed(patterns, key, declared) is taken
    assert media.check(patterns, key, declared, b"").allowed is taken


@pytest.mark.parametrize(
    ("patterns", "key", "declared", "shown", "taken"),
    [
        (("image/png",), "a.png", "image/png", "png", True),
        (("image/png",), "a.png", "image/png", "html", False),
        (("image/png",), "a.png", "image/png", "svg", False),
        (("image/png",), "a.png", "image/png", "jpeg", False),
        (("image/*",), "a.png", "image/png", "jpeg", True),
        (("text/csv",), "a.csv", "text/csv", "elf", False),
        (("text/csv",), "a.csv", "text/csv", "html", False),
        ((".csv",), "a.csv", "application/octet-stream", "exe", False),
        ((".docx",), "a.docx", "application/octet-stream", "zip", True),
        (("application/epub+zip",), "a", "application/epub+zip", "zip", True),
        (("application/pdf",), "a.pdf", "application/pdf", "zip", False),
        ((".pt",), "model.pt", "application/octet-stream", "zip", True),
        ((".pt",), "model.pt", "application/octet-stream", "pickle 2", True),
        ((".h5",), "model.h5", "application/octet-stream", "hdf5", True),
        ((".h5",), "model.h5", "application/octet-stream", "pickle 4", False),
        ((".safetensors",), "m.safetensors", "application/octet-stream", "safetensors", True),
        ((".safetensors",), "m.safetensors", "application/octet-stream", "pickle 5", False),
        (("application/octet-stream",), "a", "application/octet-stream", "elf", True),
        (("audio/mp4",), "a.m4a", "audio/mp4", "mp4", True),
        (("application/x-tar",), "a.tar.gz", "application/x-tar", "gzip", True),
        (("image/svg+xml",), "a.svg", "image/svg+xml", "xml", True),
    ],
)
def test_content_must_be_what_it_says(
    patterns: tuple[str, ...], key: str, declared: str, shown: str, taken: bool
) -> None:
    decision = media.check(patterns, key, declared, SHOWN[shown][0])
    assert decision.allowed is taken
    if not taken:
        assert SHOWN[shown][1] in decision.reason
        assert ", ".join(patterns) in decision.reason


@pytest.mark.parametrize(
    ("patterns", "key", "declared", "head", "taken"),
    [
        (("image/png",), "a.png", "image/png", b"MZ and text", False),
        (("image/*",), "a.png", "image/png", b"\x89PNG", False),
        (("image/*",), "a.jpg", "image/jpeg", noise(100), False),
        (("image/*",), "a.gif", "image/gif", b"GIF", False),
        (("image/*",), "a.webp", "image/webp", b"RIFF\0\0\0\0WEB", False),
        ((".png",), "a.png", "application/octet-stream", noise(100), False),
        ((".pdf",), "a.pdf", "application/pdf", b"hello", False),
        ((".zip", ".docx"), "a.docx", "application/octet-stream", b"hello", False),
        (("image/png", ".csv"), "a.csv", "image/png", b"a,b", False),
        (("image/png", ".csv"), "a.csv", "text/csv", b"a,b", True),
        (("image/*",), "a.xyz", "image/x-own", b"own format", True),
        (("application/octet-stream",), "a.png", "application/octet-stream", noise(100), True),
        (("image/png",), "a.png", "image/png", b"", True),
    ],
)
def test_what_must_bear_a_mark_is_refused_without(
    patterns: tuple[str, ...], key: str, declared: str, head: bytes, taken: bool
) -> None:
    assert media.check(patterns, key, declared, head).allowed is taken


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a.md", "text/markdown"),
        ("dir.png/a", None),
        ("a", None),
        (".csv", None),
        ("dir/.profile", None),
        ("a.CSV", "text/csv"),
        ("b.tar.gz", "application/gzip"),
        ("data:a,b.html", "text/html"),
        ("http://x/a.png", "image/png"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("m.safetensors", "application/x-safetensors"),
        ("m.ckpt", "application/x-checkpoint"),
        ("a.png", "image/png"),
        ("a.unheard-of", None),
        ("a.", None),
    ],
)
def test_a_key_stands_for_a_type(key: str, kind: str | None) -> None:
    assert media.guess(key) == kind


@pytest.mark.parametrize("text", ["image/*", "*/*", ".csv", ".tar.gz"[4:], "text/csv", "application/vnd.a+b"])
def test_patterns_are_recognised(text: str) -> None:
    assert media.is_pattern(text)


@pytest.mark.parametrize(
    "text",
    ["", "image", "image/", "/png", "*", "*/png", "i*/png", "image/p*", ".", ".a b", "a/b/c", "a/b;c=d"],
)
def test_what_is_no_pattern_is_told_apart(text: str) -> None:
    assert not media.is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "text/csv",
            "a/b;c=d",
            "text/html; charset=utf-8",
            'multipart/x; boundary="a b,\\";"',
            "text/html;",
        ),
        *("application/vnd.api+json", "image/svg+xml;q=1;v=2"),
    ],
)
def test_media_types(text: str) -> None:
    assert media.is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "text", "text/", "/csv", "a/b/c", "image/png,text/html", "image/png, text/html", " text/csv"),
        *(
            "text/csv ",
            "text/html; charset",
            "text/html; =x",
            "text/html; a=b,c",
            "text/html; a=b c",
            "t x/y",
        ),
        *('text/html; a="b', "text/csv\n", "text/html; a=b;; c =d", "text/\u00e9", "<a>/b"),
        "a/b" + (";" + " " * 9) * 25 + "!",
    ],
)
def test_what_is_no_media_type(text: str) -> None:
    assert not media.is_media_type(text)
