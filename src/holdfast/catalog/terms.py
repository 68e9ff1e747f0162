"""Terms: a version's tags and metadata, each as one text that an index finds. Written and removed with the version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, insert, select

from holdfast.catalog.schema import terms
from holdfast.catalog.statements import Call, Statement, int_param, list_param, text_param

#: Characters of a name and value that a term holds, since an index entry has a size; the rest is asked of the row.
_LONGEST: Final = 256
#: Neither names nor values may hold it.
_BETWEEN: Final = "\x1f"


def _add(rows: Any) -> Any:
    return (
        insert(terms)
        .inline()
        .from_select(
            ["bucket_id", "term", "key", "version_id"],
            select(
                int_param("in_bucket").label("bucket_id"),
                rows.c.value,
                text_param("of_key").label("key"),
                text_param("of_version").label("version_id"),
            ).select_from(rows),
        )
    )


TERMS_ADD = Statement(
    _add(func.json_each(list_param("terms")).table_valued("value", name="given")),
    postgres=_add(func.unnest(list_param("terms")).table_valued("value", name="given").render_derived()),
)
TERMS_REMOVE = Statement(terms.delete().where(terms.c.version_id == text_param("of_version")))


def tag_term(name: str, value: str) -> str:
    """Return the term of a tag."""
    return _term("t", name, value)


def metadata_term(name: str, value: str) -> str:
    """Return the term of one entry of the metadata."""
    return _term("m", name, value)


def terms_of(metadata: Mapping[str, str], tags: Mapping[str, str]) -> list[str]:
    """Return all terms of a version, each once."""
    found = [tag_term(*pair) for pair in tags.items()] + [metadata_term(*pair) for pair in metadata.items()]
    return list(dict.fromkeys(found))


def found_by(
    bucket_id: int, key: str, version_id: str, metadata: Mapping[str, str], tags: Mapping[str, str]
) -> list[Call]:
    """Return the call that makes a version found by its tags and metadata; none when it has neither."""
    if not metadata and not tags:
        return []
    given = terms_of(metadata, tags)
    return [TERMS_ADD(in_bucket=bucket_id, of_key=key, of_version=version_id, terms=given)]


def _term(kind: str, name: str, value: str) -> str:
    return f"{kind}{_BETWEEN}{f'{name}{_BETWEEN}{value}'[:_LONGEST]}"
