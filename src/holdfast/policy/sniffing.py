"""What the first bytes of a content show it to be. What is not recognised for certain is not named."""

from __future__ import annotations

import re
from typing import Final

_HEAD: Final = 64 << 10  #: bytes in which markup shows itself: it may stand behind blanks and comments
_START: Final = 4096  #: bytes in which all else does

_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"\0\0\1\0", "image/x-icon"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"%PDF-", "application/pdf"),
    (b"%!PS", "application/postscript"),
    (b"{\\rtf", "application/rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"PK\3\4", "application/zip"),
    (b"PK\5\6", "application/zip"),
    (b"PK\7\x08PK", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
    (b"\0asm", "application/wasm"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"dex\n03", "application/x-dex"),
    (b"MSCF\0\0\0\0", "application/vnd.ms-cab-compressed"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (b"Obj\1", "application/avro"),
    (b"CDF\1", "application/x-netcdf"),
    (b"CDF\2", "application/x-netcdf"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"GGUF", "application/x-gguf"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"SIMPLE  =", "application/fits"),
    (b"fLaC", "audio/flac"),
    (b"ID3\2\0", "audio/mpeg"),
    (b"ID3\3\0", "audio/mpeg"),
    (b"ID3\4\0", "audio/mpeg"),
    (b"MThd\0\0\0\6", "audio/midi"),
    (b"OggS\0", "application/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"FLV\1", "video/x-flv"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"OTTO\0", "font/otf"),
    (b"\0\1\0\0\0", "font/ttf"),
    (b"#!/", "text/x-shellscript"),
    (b"#! /", "text/x-shellscript"),
)
_BY_FIRST: Final[dict[int, list[tuple[bytes, str]]]] = {}
for _magic, _type in _MAGIC:
    _BY_FIRST.setdefault(_magic[0], []).append((_magic, _type))

_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_HEIC: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc")
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_HTML: Final = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|script|iframe|style|title|meta|link|table|object|embed)[\s/>]",
    re.IGNORECASE,
)
_PROLOGUE: Final = re.compile(
    rb"(?:<\?xml[^>]*+>|<!--.*?-->|<!doctype\s+svg[^>]*+>|\s++)++", re.IGNORECASE | re.DOTALL
)
_PICKLE: Final = re.compile(
    rb"\x80(?:[\x02\x03][()\]}cqXUK\x8a]|[\x04\x05]\x95.{8}|\x04[\x8c\]}()K])", re.DOTALL
)


def sniff(head: bytes) -> str | None:
    """Return the media type that the first bytes show, None when they show none.

    64 KiB are looked at; of a content that has fewer, give all.
    """
    if not head:
        return None
    for magic, kind in _BY_FIRST.get(head[0], ()):
        if head.startswith(magic):
            return kind
    return _structured(head[:_START]) or _markup(head[:_HEAD])


def _structured(head: bytes) -> str | None:
    """Formats whose mark is not at the start, or needs a second look."""
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "application/x-bzip2"
    if head[4:8] == b"ftyp":
        return _brand(head[8:12])
    if any(head[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048)):
        return "application/x-hdf5"
    if head[257:262] == b"ustar":
        return "application/x-tar"
    if head[128:132] == b"DICM":
        return "application/dicom"
    if head.startswith(b"MZ") and _is_windows(head):
        return "application/x-msdownload"
    if (
        head.startswith(b"BM")
        and len(head) >= 18
        and head[6:10] == bytes(4)
        and head[14] in (12, 40, 108, 124)
    ):
        return "image/bmp"
    if _PICKLE.match(head):
        return "application/x-pickle"
    if len(head) >= 10 and head[8:10] == b'{"' and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000:
        return "application/x-safetensors"
    if len(head) >= 4 and head[0] == 0xFF and _is_mpeg_audio(head):
        return "audio/mpeg"
    return None


def _brand(brand: bytes) -> str:
    if brand in (b"avif", b"avis"):
        return "image/avif"
    return "image/heic" if brand in _HEIC else "video/mp4"


def _is_windows(head: bytes) -> bool:
    """Tell a program from a text that begins with MZ: its header has zeros, or names where the next one starts."""
    at = int.from_bytes(head[60:64], "little")
    return b"\0" in head[:64] or (len(head) >= 64 and head[at : at + 2] in (b"PE", b"NE", b"LE"))


def _is_mpeg_audio(head: bytes) -> bool:
    """Tell whether a frame of layer III starts here, with a bit rate and a sampling rate that exist."""
    return (
        head[1] & 0xE6 == 0xE2
        and head[1] & 0x18 != 0x08
        and head[2] >> 4 not in (0, 15)
        and head[2] & 0x0C != 0x0C
    )


def _markup(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text[2:].replace(b"\0", b"")
    text = text.lstrip()
    if not text.startswith(b"<"):
        return "application/pdf" if text.startswith(b"%PDF-") else None
    prologue = _PROLOGUE.match(text)
    rest = text[prologue.end() :] if prologue else text
    if rest[:4].lower() == b"<svg":
        return "image/svg+xml"
    if _HTML.match(rest):
        return "text/html"
    if text[:5].lower() == b"<?xml" or (len(head) == _HEAD and (not rest or rest.startswith(b"<!--"))):
        return "text/xml"  # or any other markup, behind a comment that fills all that is looked at
    return None
