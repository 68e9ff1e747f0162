"""Transactions of executions and of the artifacts that they left.

What an artifact is made of is an object's version, or a file that is read where it lies. Of a version, where it is and
until when it is kept is asked of the version itself, in the same statement: so it cannot be out of step. An artifact
whose version is gone is gone too; its row is swept up behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import and_, case, func, literal_column, null, or_, select, update

from holdfast.catalog.common import NOW, audited, is_readable
from holdfast.catalog.contract import Actor, Touch
from holdfast.catalog.rows import mapping_of, text_of
from holdfast.catalog.schema import artifacts, executions, replicas, versions
from holdfast.catalog.statements import (
    Many,
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.names import INLINE
from holdfast.core.records import Artifact, Execution

_EXECUTION: Final = ("tenant", "id", "name", "status", "metadata", "created", "updated")
_ARTIFACT: Final = tuple(column.name for column in artifacts.columns)
_ONE = (executions.c.tenant == text_param("of_tenant"), executions.c.id == text_param("of_execution"))
_OF = (artifacts.c.tenant == text_param("of_tenant"), artifacts.c.execution_id == text_param("of_execution"))
_THE = (*_OF, artifacts.c.id == text_param("of_artifact"))

EXECUTION_ADD = insert_into(executions, *_EXECUTION)
_EXECUTIONS = select(*[executions.c[name] for name in _EXECUTION])
EXECUTION = Statement(_EXECUTIONS.where(*_ONE))
EXECUTIONS = Statement(
    _EXECUTIONS.where(
        executions.c.tenant == text_param("of_tenant"),
        or_(
            executions.c.created < int_param("before"),
            and_(executions.c.created == int_param("before"), executions.c.id > text_param("after")),
        ),
    )
    .order_by(executions.c.created.desc(), executions.c.id)
    .limit(int_param("rows"))
)
EXECUTION_CHANGE = Statement(
    update(executions)
    .where(*_ONE)
    .values(
        name=text_param("new_name"),
        status=text_param("new_status"),
        metadata=text_param("new_metadata"),
        updated=int_param("at"),
    )
)
EXECUTION_REMOVE = Statement(executions.delete().where(*_ONE))

_inline = (
    select(literal_column("1"))
    .where(
        replicas.c.version_id == artifacts.c.version_id,
        replicas.c.store == constant(INLINE),
        is_readable(replicas),
    )
    .correlate(artifacts)
    .exists()
)
_in_file = artifacts.c.storage_type == constant("filesystem")
_NOW_IN = case(
    (_in_file, artifacts.c.storage_type),
    (_inline, literal_column("'database'")),
    else_=literal_column("'object_storage'"),
)
_LIVE: Final[dict[str, Any]] = {
    "storage_type": _NOW_IN,
    "expires": case((_in_file, artifacts.c.expires), else_=versions.c.expires),
}
_there = or_(_in_file, versions.c.id.is_not(None))
_ARTIFACTS = select(*[_LIVE.get(name, artifacts.c[name]).label(name) for name in _ARTIFACT]).select_from(
    artifacts.outerjoin(versions, versions.c.id == artifacts.c.version_id)
)

ARTIFACT_ADD = insert_into(artifacts, *_ARTIFACT)
ARTIFACT = Statement(_ARTIFACTS.where(*_THE, _there))
ARTIFACTS = Statement(
    _ARTIFACTS.where(*_OF, artifacts.c.id > text_param("after"), _there)
    .order_by(artifacts.c.id)
    .limit(int_param("rows"))
)
ARTIFACT_ROW = Statement(select(artifacts.c.version_id, artifacts.c.created).where(*_THE))
ARTIFACT_REMOVE = Statement(artifacts.delete().where(*_THE).returning(artifacts.c.id))
_version_there = (
    select(literal_column("1")).where(versions.c.id == artifacts.c.version_id).correlate(artifacts).exists()
)
GONE_ARTIFACTS = Statement(artifacts.delete().where(*_OF, ~_in_file, ~_version_there))
ANY_ARTIFACT = Statement(select(artifacts.c.id).where(*_OF).limit(constant(1)))
VERSION = Statement(select(versions.c.expires).where(versions.c.id == text_param("of_version")))
TOUCH = Statement(
    update(artifacts)
    .where(*_THE)
    .values(
        access_count=artifacts.c.access_count + int_param("more"),
        last_access=func.coalesce(
            case(
                (artifacts.c.last_access > int_param("at"), artifacts.c.last_access),
                else_=int_param("at"),
            ),
            int_param("at"),
        ),
    )
)
OVERDUE = Statement(
    select(
        artifacts.c.tenant,
        artifacts.c.execution_id,
        artifacts.c.id,
        artifacts.c.storage_type,
        versions.c.expires,
    )
    .add_columns(versions.c.id)
    .select_from(artifacts.outerjoin(versions, versions.c.id == artifacts.c.version_id))
    .where(artifacts.c.expires <= int_param("at"))
    .order_by(artifacts.c.expires)
    .limit(int_param("rows"))
)
#: Of a version that is kept longer than it was when the artifact was made.
KEPT_LONGER = Statement(update(artifacts).where(*_THE).values(expires=int_param("until")))
KEPT_FOREVER = Statement(update(artifacts).where(*_THE).values(expires=null()))


def no_execution(execution_id: str) -> NotFoundError:
    """Return the error for an execution that is not there."""
    return NotFoundError("there is no such execution", name=execution_id)


def no_artifact(artifact_id: str) -> NotFoundError:
    """Return the error for an artifact that is not there, or no longer."""
    return NotFoundError("there is no such artifact, or its time is over", name=artifact_id)


# -- executions ---------------------------------------------------------------------------------------------------


def create_execution(execution: Execution, *, actor: Actor, now: int | None) -> Transaction[Execution]:
    """A new execution."""

    def steps(attempt: Attempt) -> Steps[Execution]:
        before = yield EXECUTION(of_tenant=execution.tenant, of_execution=execution.id)
        if before and not (attempt.again and before[0][5] == attempt.seen.get("at")):
            raise AlreadyExistsError("there is an execution of that id", name=execution.id)
        if before:
            return _execution_of(before[0])
        at = attempt.seen["at"] = (yield NOW(now=now))[0][0]
        yield EXECUTION_ADD(**_execution_row(execution, created=at, updated=at))
        detail = {"execution": execution.id, "name": execution.name, "status": execution.status}
        yield audited(at, execution.tenant, "create-execution", actor, detail=detail)
        return _execution_of(tuple(_execution_row(execution, created=at, updated=at).values()))

    return steps


def execution(tenant: str, execution_id: str) -> Transaction[Execution]:
    """One execution."""

    def steps(attempt: Attempt) -> Steps[Execution]:
        return (yield from _read(tenant, execution_id))

    return steps


def page(tenant: str, before: int, after: str, limit: int) -> Transaction[Sequence[Execution]]:
    """Executions of a tenant, the newest first, those behind a (time, id)."""

    def steps(attempt: Attempt) -> Steps[Sequence[Execution]]:
        rows = yield EXECUTIONS(of_tenant=tenant, before=before, after=after, rows=limit)
        return [_execution_of(row) for row in rows]

    return steps


def update_execution(wanted: Execution, *, actor: Actor, now: int | None) -> Transaction[Execution]:
    """An execution with another name, status or metadata; nothing is written where it is so already."""

    def steps(attempt: Attempt) -> Steps[Execution]:
        held = yield from _read(wanted.tenant, wanted.id)
        if (held.name, held.status, dict(held.metadata)) == (
            wanted.name,
            wanted.status,
            dict(wanted.metadata),
        ):
            return held
        at = (yield NOW(now=now))[0][0]
        yield EXECUTION_CHANGE(
            of_tenant=wanted.tenant,
            of_execution=wanted.id,
            new_name=wanted.name,
            new_status=wanted.status,
            new_metadata=text_of(wanted.metadata),
            at=at,
        )
        detail = {"execution": wanted.id, "status": wanted.status}
        yield audited(at, wanted.tenant, "update-execution", actor, detail=detail)
        return Execution(
            wanted.id, wanted.tenant, wanted.name, wanted.status, wanted.metadata, held.created, at
        )

    return steps


def remove_execution(tenant: str, execution_id: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """An execution that has no artifacts any more, removed."""

    def steps(attempt: Attempt) -> Steps[None]:
        rows = yield EXECUTION(of_tenant=tenant, of_execution=execution_id)
        if not rows and attempt.again and "found" in attempt.seen:
            return
        if not rows:
            raise no_execution(execution_id)
        attempt.seen["found"] = True
        yield GONE_ARTIFACTS(of_tenant=tenant, of_execution=execution_id)
        if (yield ANY_ARTIFACT(of_tenant=tenant, of_execution=execution_id)):
            raise ConflictError("the execution has artifacts; remove these first", name=execution_id)
        yield EXECUTION_REMOVE(of_tenant=tenant, of_execution=execution_id)
        at = (yield NOW(now=now))[0][0]
        yield audited(at, tenant, "delete-execution", actor, detail={"execution": execution_id})

    return steps


def _read(tenant: str, execution_id: str) -> Steps[Execution]:
    rows = yield EXECUTION(of_tenant=tenant, of_execution=execution_id)
    if not rows:
        raise no_execution(execution_id)
    return _execution_of(rows[0])


# -- artifacts ----------------------------------------------------------------------------------------------------


def add_artifact(wanted: Artifact, *, actor: Actor, now: int | None) -> Transaction[Artifact]:
    """A new artifact of an execution; its content is there. One whose content is gone gives its place up."""

    def steps(attempt: Attempt) -> Steps[Artifact]:
        names = {
            "of_tenant": wanted.tenant,
            "of_execution": wanted.execution_id,
            "of_artifact": wanted.id,
        }
        yield from _read(wanted.tenant, wanted.execution_id)
        there = yield ARTIFACT(**names)
        mine = attempt.again and bool(there) and there[0][_ARTIFACT.index("version_id")] == wanted.version_id
        if there and not mine:
            raise AlreadyExistsError("the execution has an artifact of that id", name=wanted.id)
        if there:
            return artifact_of(there[0])
        expires = wanted.expires
        if wanted.version_id:
            found = yield VERSION(of_version=wanted.version_id)
            if not found:
                raise ConflictError("the artifact's content is gone already; send it again", name=wanted.id)
            expires = found[0][0]
        yield ARTIFACT_REMOVE(**names)
        at = (yield NOW(now=now))[0][0]
        yield ARTIFACT_ADD(**_artifact_row(wanted, created=at, expires=expires))
        yield audited(
            at,
            wanted.tenant,
            "create-artifact",
            actor,
            bucket=wanted.bucket,
            key=wanted.key,
            version_id=wanted.version_id,
            size=wanted.size,
            detail={"execution": wanted.execution_id, "artifact": wanted.id},
        )
        return artifact_of((yield ARTIFACT(**names))[0])

    return steps


def artifact(tenant: str, execution_id: str, artifact_id: str) -> Transaction[Artifact]:
    """One artifact."""

    def steps(attempt: Attempt) -> Steps[Artifact]:
        rows = yield ARTIFACT(of_tenant=tenant, of_execution=execution_id, of_artifact=artifact_id)
        if not rows:
            raise no_artifact(artifact_id)
        return artifact_of(rows[0])

    return steps


def artifacts_of(tenant: str, execution_id: str, after: str, limit: int) -> Transaction[Sequence[Artifact]]:
    """Artifacts of an execution by id, those behind an id."""

    def steps(attempt: Attempt) -> Steps[Sequence[Artifact]]:
        rows = yield ARTIFACTS(of_tenant=tenant, of_execution=execution_id, after=after, rows=limit)
        return [artifact_of(row) for row in rows]

    return steps


def remove_artifact(
    tenant: str, execution_id: str, artifact_id: str, *, actor: Actor, now: int | None
) -> Transaction[bool]:
    """An artifact's row removed, its content left alone; whether there was one."""

    def steps(attempt: Attempt) -> Steps[bool]:
        removed = yield ARTIFACT_REMOVE(of_tenant=tenant, of_execution=execution_id, of_artifact=artifact_id)
        if not removed:
            return False
        at = (yield NOW(now=now))[0][0]
        detail = {"execution": execution_id, "artifact": artifact_id}
        yield audited(at, tenant, "delete-artifact", actor, detail=detail)
        return True

    return steps


def touch(touches: Sequence[Touch]) -> Transaction[None]:
    """Reads of artifacts, counted."""

    def steps(attempt: Attempt) -> Steps[None]:
        if attempt.again:  # better one count too few than twice the same
            return
        yield Many(
            TOUCH,
            [
                {
                    "of_tenant": one.tenant,
                    "of_execution": one.execution_id,
                    "of_artifact": one.artifact_id,
                    "more": one.count,
                    "at": one.last,
                }
                for one in sorted(touches, key=lambda one: (one.tenant, one.execution_id, one.artifact_id))
            ],
        )

    return steps


def forget_overdue(at: int, limit: int) -> Transaction[int]:
    """Artifacts whose time is over and whose content is gone, forgotten; files in place are only forgotten, not touched.

    Of those that are kept longer now the date is brought up. Returns how many rows were looked at.
    """

    def steps(attempt: Attempt) -> Steps[int]:
        rows = yield OVERDUE(at=at, rows=limit)
        for tenant, execution_id, artifact_id, storage_type, expires, version_id in rows:
            names = {"of_tenant": tenant, "of_execution": execution_id, "of_artifact": artifact_id}
            if storage_type == "filesystem" or version_id is None:
                yield ARTIFACT_REMOVE(**names)
            elif expires is None:
                yield KEPT_FOREVER(**names)
            elif expires > at:
                yield KEPT_LONGER(**names, until=expires)
        return sum(1 for row in rows if row[3] == "filesystem" or row[5] is None)

    return steps


# -- rows ---------------------------------------------------------------------------------------------------------


def _execution_row(execution: Execution, *, created: int, updated: int) -> dict[str, Any]:
    return {
        "tenant": execution.tenant,
        "id": execution.id,
        "name": execution.name,
        "status": execution.status,
        "metadata": text_of(execution.metadata),
        "created": created,
        "updated": updated,
    }


def _execution_of(row: Row) -> Execution:
    tenant, id_, name, status, metadata, created, updated = row
    return Execution(id_, tenant, name, status, mapping_of(metadata), created, updated)


def _artifact_row(artifact: Artifact, *, created: int, expires: int | None) -> dict[str, Any]:
    row = {name: getattr(artifact, name) for name in _ARTIFACT}
    return row | {
        "metadata": text_of(artifact.metadata),
        "created": created,
        "expires": expires,
        "access_count": 0,
        "last_access": None,
    }


def artifact_of(row: Row) -> Artifact:
    """Return the artifact of a row of `ARTIFACTS`."""
    held = dict(zip(_ARTIFACT, row, strict=True))
    held["metadata"] = mapping_of(held["metadata"])
    return Artifact(**held)
