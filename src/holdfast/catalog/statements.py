"""`Statement`: a SQLAlchemy Core element compiled once per database, to be run on the bare driver.

Comes in: Core elements whose variable parts are `bindparam`s. Goes out: SQL text and the order of its parameters.
Values go to the driver as they are (text, int, bytes, bool, None, list of text), so there is nothing to convert.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Table, Text, bindparam, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Boolean

Row = Sequence[Any]
Params = Mapping[str, Any]

_SQLITE = sqlite.dialect(paramstyle="named")
_LISTS = "holdfast_lists"
_POSTGRES = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]


class Statement:
    """One statement. `keys` names the columns that an insert fills; `postgres` replaces the element there."""

    def __init__(
        self,
        element: ClauseElement,
        *,
        keys: Iterable[str] | None = None,
        postgres: ClauseElement | None = None,
        postgres_keys: Iterable[str] | None = None,
    ) -> None:
        self._element = element
        self._keys = list(keys) if keys is not None else None
        self._postgres = postgres if postgres is not None else element
        self._postgres_keys = list(postgres_keys) if postgres_keys is not None else self._keys

    @cached_property
    def sqlite(self) -> tuple[str, tuple[str, ...]]:
        """The text for SQLite with `:name`, and the names of the parameters that are lists (to be sent as JSON)."""
        compiled = self._element.compile(dialect=_SQLITE, column_keys=self._keys)
        assert isinstance(compiled, SQLCompiler)
        sql = str(compiled)
        for name, value in compiled.params.items():
            if type(value) is int:  # a constant that the dialect made a parameter, as in OFFSET 0
                sql = re.sub(rf":{name}\b", str(value), sql)
        return sql, tuple(getattr(compiled, _LISTS, ()))

    @cached_property
    def postgres(self) -> tuple[str, tuple[str, ...]]:
        """The text for PostgreSQL with `$n`, and the name of each parameter."""
        compiled = self._postgres.compile(dialect=_POSTGRES, column_keys=self._postgres_keys)
        assert isinstance(compiled, SQLCompiler)
        return str(compiled), tuple(compiled.positiontup or ())

    def __call__(self, **params: Any) -> Call:
        """Return the statement with its values."""
        return Call(self, params)


class Call(NamedTuple):
    """A statement with its values: what a transaction yields; it is sent back the rows."""

    statement: Statement
    params: Params


class Batch(NamedTuple):
    """Calls that do not depend on each other and touch different rows; sent back are the rows of the first.

    Where a round trip costs, they go as one.
    """

    calls: Sequence[Call]


class Many(NamedTuple):
    """One statement for many sets of values; sent back is nothing."""

    statement: Statement
    params: Sequence[Params]


def insert_into(table: Table, *keys: str, unless_there: bool = False) -> Statement:
    """Return the insert of one row of `keys`, which changes nothing when there is such a row and `unless_there`."""
    if not unless_there:
        return Statement(sqlite.insert(table).inline(), postgres=postgresql.insert(table).inline(), keys=keys)
    return Statement(
        sqlite.insert(table).inline().on_conflict_do_nothing(),
        postgres=postgresql.insert(table).inline().on_conflict_do_nothing(),
        keys=keys,
    )


def upsert_into(
    table: Table, *keys: str, unique: Sequence[str], change: Mapping[str, ColumnElement[Any]] | None = None
) -> Statement:
    """Return the insert of one row of `keys`, which replaces the row with the same `unique` columns (and makes `change`)."""
    taken = [key for key in keys if key not in unique and key not in (change or {})]

    def build(insert: Any) -> Any:
        return insert.on_conflict_do_update(
            index_elements=list(unique),
            set_={key: insert.excluded[key] for key in taken} | dict(change or {}),
        )

    return Statement(
        build(sqlite.insert(table).inline()), postgres=build(postgresql.insert(table).inline()), keys=keys
    )


# -- expressions that the databases spell differently -----------------------------------------------------------


def text_param(name: str) -> ColumnElement[str]:
    """Return a parameter that is text."""
    return bindparam(name, type_=Text())


def int_param(name: str) -> ColumnElement[int]:
    """Return a parameter that is a whole number."""
    return bindparam(name, type_=BigInteger())


def constant(value: str | int) -> ColumnElement[Any]:
    """Return a value that is part of the text; for our own constants only."""
    return literal_column(f"'{value}'" if isinstance(value, str) else str(value))


class catalog_now(ColumnElement[int]):
    """The catalog's clock: the parameter `now`, or the database's own clock where that is NULL (PostgreSQL only)."""

    inherit_cache = True
    type = BigInteger()

    def __init__(self) -> None:
        self.param = bindparam("now", type_=BigInteger())


@compiles(catalog_now, "sqlite")
def _now_sqlite(element: catalog_now, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.param, **kw)


@compiles(catalog_now, "postgresql")
def _now_postgres(element: catalog_now, compiler: SQLCompiler, **kw: Any) -> str:
    param = compiler.process(element.param, **kw)
    return f"coalesce({param}, (extract(epoch from clock_timestamp()) * 1000000)::bigint)"


class one_of(ColumnElement[bool]):
    """`column` is one of the texts in the list parameter `name`; the list may have any length."""

    inherit_cache = False
    type = Boolean()

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        self.column = column
        self.param: Any = bindparam(name, type_=Text())
        self.array: Any = bindparam(name, type_=postgresql.ARRAY(Text()))

    def self_group(self, against: Any = None) -> Any:
        return self  # or SQLite gets "… = 1" appended, and no index is used


@compiles(one_of, "sqlite")
def _one_of_sqlite(element: one_of, compiler: SQLCompiler, **kw: Any) -> str:
    column, param = compiler.process(element.column, **kw), compiler.process(element.param, **kw)
    compiler.__dict__.setdefault(_LISTS, []).append(element.param.key)
    return f"{column} IN (SELECT value FROM json_each({param}))"


@compiles(one_of, "postgresql")
def _one_of_postgres(element: one_of, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.column, **kw)} = ANY({compiler.process(element.array, **kw)})"


class among(one_of):
    """As `one_of`, for when an index has found few rows already: SQLite then builds no table of the list."""

    inherit_cache = False


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    column, param = compiler.process(element.column, **kw), compiler.process(element.param, **kw)
    compiler.__dict__.setdefault(_LISTS, []).append(element.param.key)
    return f"EXISTS (SELECT 1 FROM json_each({param}) WHERE value = {column})"


class position(GenericFunction[int]):
    """Where the second text begins in the first, counted from 1; 0 when it is not in it."""

    inherit_cache = True
    type = BigInteger()


@compiles(position, "sqlite")
def _position_sqlite(element: position, compiler: SQLCompiler, **kw: Any) -> str:
    return f"instr({compiler.process(element.clauses, **kw)})"


@compiles(position, "postgresql")
def _position_postgres(element: position, compiler: SQLCompiler, **kw: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **kw)})"


class list_param(ColumnElement[Any]):
    """The list parameter `name` itself, for a function that makes rows of it."""

    inherit_cache = False

    def __init__(self, name: str) -> None:
        self.param: Any = bindparam(name, type_=Text())
        self.array: Any = bindparam(name, type_=postgresql.ARRAY(Text()))


@compiles(list_param, "sqlite")
def _list_sqlite(element: list_param, compiler: SQLCompiler, **kw: Any) -> str:
    compiler.__dict__.setdefault(_LISTS, []).append(element.param.key)
    return compiler.process(element.param, **kw)


@compiles(list_param, "postgresql")
def _list_postgres(element: list_param, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.array, **kw)
