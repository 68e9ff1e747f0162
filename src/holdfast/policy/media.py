"""Which media types a bucket takes: by name, by what the writer declared, and by what the first bytes show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from mimetypes import MimeTypes
from typing import Final

from holdfast.policy.sniffing import sniff

UNKNOWN: Final = "application/octet-stream"
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*+"'
_MEDIA_TYPE: Final = re.compile(
    rf"{_WORD}/{_WORD}(?:[ \t]*+;[ \t]*+(?:{_WORD}=(?:{_WORD}|{_QUOTED}))?+)*+"  # possessive: linear in all cases
)

#: Extensions that the standard table lacks, or calls by an outdated name.
_MORE: Final = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/x-ndjson",
    ".geojson": "application/geo+json",
    ".ipynb": "application/x-ipynb+json",
    ".log": "text/plain",
    ".ini": "text/plain",
    ".rst": "text/x-rst",
    ".tsv": "text/tab-separated-values",
    ".sql": "application/sql",
    ".ts": "text/x-typescript",
    ".sh": "text/x-shellscript",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
    ".avro": "application/avro",
    ".orc": "application/vnd.apache.orc",
    ".pkl": "application/x-pickle",
    ".pickle": "application/x-pickle",
    ".joblib": "application/x-pickle",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".nc": "application/x-netcdf",
    ".keras": "application/x-keras",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".pt": "application/x-pytorch",
    ".pth": "application/x-pytorch",
    ".ckpt": "application/x-checkpoint",
    ".safetensors": "application/x-safetensors",
    ".gguf": "application/x-gguf",
    ".onnx": "application/x-onnx",
    ".pb": "application/x-protobuf",
    ".tflite": "application/x-tflite",
    ".sqlite": "application/vnd.sqlite3",
    ".db": "application/vnd.sqlite3",
    ".dcm": "application/dicom",
    ".fits": "application/fits",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".webp": "image/webp",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".ogv": "video/ogg",
    ".mkv": "video/matroska",
    ".webm": "video/webm",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
    ".7z": "application/x-7z-compressed",
    ".rar": "application/vnd.rar",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".epub": "application/epub+zip",
    ".whl": "application/zip",
    ".jar": "application/java-archive",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
}
_TABLE: Final = MimeTypes()  # the one that Python ships, never the machine's: every replica guesses alike

#: Types that a browser runs: they may not come in under another's extension.
_ACTIVE: Final = frozenset(
    {"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "text/javascript"}
    | {"application/javascript", "application/x-javascript", "application/ecmascript", "text/ecmascript"}
)

#: What is found in the bytes → the types that such bytes also are. A `+` or a trailing `.` ends a prefix or suffix.
_ALSO: Final[dict[str, tuple[str, ...]]] = {
    "application/zip": (
        "+zip", "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument.",
        "application/java-archive", "application/vnd.android.package-archive", "application/x-zip-compressed",
        "application/x-npz", "application/x-pytorch", "application/x-checkpoint", "application/x-keras",
        "application/vnd.google-earth.kmz", "application/x-xpinstall", "application/vnd.ms-",
    ),
    "application/gzip": ("application/x-gzip", "application/x-tar", "application/x-gtar", "application/x-tgz",
                         "application/x-compressed", "image/svg+xml"),
    "application/x-bzip2": ("application/x-tar", "application/x-bzip"),
    "application/x-xz": ("application/x-tar",),
    "application/zstd": ("application/x-tar",),
    "application/x-tar": ("application/x-gtar", "application/x-pytorch", "application/x-checkpoint"),
    "text/xml": ("application/xml", "+xml", "text/html", "application/vnd.google-earth."),
    "text/html": ("application/xhtml+xml",),
    "application/x-pickle": ("application/x-pytorch", "application/x-checkpoint", "application/python-pickle"),
    "application/x-hdf5": ("application/x-hdf", "application/x-netcdf", "application/x-keras",
                           "application/x-checkpoint", "application/netcdf"),
    "video/mp4": ("audio/mp4", "audio/x-m4a", "audio/aac", "video/quicktime", "video/x-m4v", "video/3gpp",
                  "audio/3gpp", "video/3gpp2", "application/mp4"),
    "video/webm": ("audio/webm", "video/matroska", "video/x-matroska", "audio/matroska"),
    "application/ogg": ("audio/ogg", "video/ogg", "audio/opus", "audio/vorbis"),
    "audio/wav": ("audio/x-wav", "audio/wave", "audio/vnd.wave"),
    "audio/mpeg": ("audio/mp3", "audio/x-mp3"),
    "image/jpeg": ("image/jpg", "image/pjpeg"),
    "image/x-icon": ("image/vnd.microsoft.icon",),
    "image/heic": ("image/heif",),
    "image/bmp": ("image/x-ms-bmp",),
    "image/tiff": ("image/x-adobe-dng", "image/geotiff"),
    "application/x-ole-storage": ("application/msword", "application/vnd.ms-", "application/x-msi"),
    "application/x-elf": ("application/x-executable", "application/x-sharedlib", "application/x-object"),
    "application/x-msdownload": ("application/vnd.microsoft.portable-executable", "application/x-dosexec"),
    "text/x-shellscript": ("application/x-sh", "text/x-python", "application/x-python", "text/x-perl",
                           "application/x-shellscript", "text/javascript", "application/x-perl"),
    "application/vnd.sqlite3": ("application/x-sqlite3",),
    "application/vnd.apache.parquet": ("application/x-parquet", "application/parquet"),
    "application/vnd.rar": ("application/x-rar-compressed", "application/x-rar"),
}  # fmt: skip

#: Types whose contents all begin with a mark that is recognised: what bears none is not of that type.
_MARKED: Final = frozenset(
    {"image/png", "image/jpeg", "image/jpg", "image/pjpeg", "image/gif", "image/webp", "image/tiff"}
    | {"application/pdf", "application/zip", "application/x-zip-compressed", "application/epub+zip"}
    | {"application/java-archive", "application/gzip", "application/x-gzip", "application/x-xz"}
    | {"application/x-7z-compressed", "application/vnd.rar", "application/x-rar-compressed"}
    | {"application/vnd.apache.parquet", "application/x-npy", "font/woff", "font/woff2"}
    | {_MORE[name] for name in (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp")}
)


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed`, and why."""

    allowed: bool
    reason: str


def guess(key: str) -> str | None:
    """Return the media type that a key's extension stands for, None when it is not known."""
    name = "/" + key.rpartition("/")[2].lower()  # so that nothing in it is taken for a URL's scheme
    dot, extension = name.rfind("."), ""
    if dot > 1:
        extension = name[dot:]
    if extension in _MORE:
        return _MORE[extension]
    return None if not extension else _TABLE.guess_type("/x" + extension)[0]


def allowed(patterns: Sequence[str], name: str, media_type: str) -> bool:
    """Tell whether a bucket that takes `patterns` takes `media_type` under this name.

    A pattern is a type (`text/csv`), a family (`image/*`), everything (`*/*`), or an extension (`.csv`). One that fits
    is enough; no patterns take everything.
    """
    return not patterns or bool(_expected(patterns, name, essence(media_type)))


def check(patterns: Sequence[str], key: str, content_type: str, head: bytes) -> Decision:
    """Return whether an object may be stored, by its name, its declared type and its first bytes.

    Bytes that are recognised must be of a type that the patterns take, or that the declared type or the extension
    stands for. Bytes that show nothing pass, unless the declared type, or every type that they may be, has a mark that
    they do not bear. No bytes at all pass: there is nothing in them to be taken for something else.
    """
    if not patterns:
        return Decision(True, "every type is taken here")
    declared = essence(content_type)
    expected = _expected(patterns, key, declared)
    if not expected:
        return Decision(False, f"{declared} is not among the types that are taken here: {_list(patterns)}")
    found = sniff(head)
    if head and found is None and (declared in _MARKED or _MARKED.issuperset(expected)):
        missed = declared if declared in _MARKED else expected[0]
        return Decision(False, f"the content is not {missed}: it does not begin as such a content does")
    if found is None or _taken(patterns, found) or any(_is(found, wanted) for wanted in expected):
        return Decision(True, f"{declared} is taken here")
    return Decision(
        False, f"the content is {found}, not {declared}; the types that are taken here: {_list(patterns)}"
    )


def is_pattern(text: str) -> bool:
    """Tell whether `text` is a pattern of types: `type/subtype`, `type/*`, `*/*` or `.extension`."""
    if text.startswith("."):
        return len(text) > 1 and not set(text[1:]) & set("/.* \t;,")
    kind, slash, subtype = text.partition("/")
    if not slash or not kind or not subtype or len(text) > 127 or not text.isascii():
        return False
    if set(text) & set(" \t;,\"'()<>@:\\[]?="):
        return False
    return (
        "/" not in subtype and ("*" not in kind or text == "*/*") and ("*" not in subtype or subtype == "*")
    )


def is_media_type(text: str) -> bool:
    """Tell whether `text` is one media type, perhaps with parameters, as HTTP writes it (RFC 9110, 8.3.1)."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def essence(media_type: str) -> str:
    """Return a media type without parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def _expected(patterns: Sequence[str], key: str, declared: str) -> list[str]:
    """Return the types that the content may be, by its declared type and by its extension."""
    found = [declared] if _taken(patterns, declared) else []
    lower = key.lower()
    if any(pattern.startswith(".") and lower.endswith(pattern.lower()) for pattern in patterns):
        meant = guess(key) or UNKNOWN
        if declared not in _ACTIVE or declared == meant:
            found.append(meant)
    return found


def _taken(patterns: Iterable[str], media_type: str) -> bool:
    family = media_type.partition("/")[0] + "/*"
    return any(pattern.lower() in (media_type, family, "*/*") for pattern in patterns)


def _is(found: str, wanted: str) -> bool:
    """Tell whether bytes that look like `found` may be `wanted`."""
    if wanted in (found, UNKNOWN):
        return True
    return any(
        wanted.startswith(other) if other[-1] in ".-" else wanted.endswith(other)
        for other in _ALSO.get(found, ())
    )


def _list(patterns: Iterable[str]) -> str:
    return ", ".join(patterns)
