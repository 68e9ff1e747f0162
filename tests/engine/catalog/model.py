"""The listings of S3 by brute force: slow, obvious, and written without a look at the real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def bytewise(text: str) -> bytes:
    return text.encode()


def objects_page(
    keys: Iterable[str], prefix: str, delimiter: str, marker: str, limit: int
) -> tuple[list[str], list[str], str, bool]:
    """Return (keys, common prefixes, next marker, truncated) of one page."""
    entries: list[tuple[str, bool]] = []
    for key in sorted(keys, key=bytewise):
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        folded = bool(delimiter) and delimiter in rest
        name = prefix + rest[: rest.index(delimiter)] + delimiter if folded else key
        if folded and marker.startswith(name):
            continue
        if bytewise(name) <= bytewise(marker):
            continue
        if (name, folded) not in entries[-1:]:
            entries.append((name, folded))
    page = entries[:limit]
    truncated = bool(limit) and len(entries) > limit
    return (
        [name for name, folded in page if not folded],
        [name for name, folded in page if folded],
        page[-1][0] if truncated else "",
        truncated,
    )


Row = tuple[str, int, str]  # key, number, id


def versions_page(
    rows: Sequence[Row], prefix: str, delimiter: str, key_marker: str, version_marker: str, limit: int
) -> tuple[list[str], list[str], str, str, bool]:
    """Return (ids, common prefixes, next key, next version, truncated) of one page."""
    number_of = {(key, id_): number for key, number, id_ in rows}
    entries: list[tuple[str, str]] = []
    for key, number, id_ in sorted(rows, key=lambda row: (bytewise(row[0]), -row[1])):
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            name = prefix + rest[: rest.index(delimiter)] + delimiter
            if key_marker.startswith(name) or bytewise(name) <= bytewise(key_marker):
                continue
            if (name, "") not in entries[-1:]:
                entries.append((name, ""))
            continue
        if bytewise(key) < bytewise(key_marker):
            continue
        if key == key_marker and (not version_marker or number >= number_of[key, version_marker]):
            continue
        entries.append((key, id_))
    page = entries[:limit]
    truncated = bool(limit) and len(entries) > limit
    last = page[-1] if truncated else ("", "")
    return (
        [id_ for _, id_ in page if id_],
        [name for name, id_ in page if not id_],
        last[0],
        last[1],
        truncated,
    )
