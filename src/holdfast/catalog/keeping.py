"""Transactions of random bytes that all processes over a catalog share."""

from __future__ import annotations

from sqlalchemy import select

from holdfast.catalog.schema import secrets
from holdfast.catalog.statements import Statement, insert_into, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction

SECRET = Statement(select(secrets.c.value).where(secrets.c.name == text_param("of_name")))
SECRET_ADD = insert_into(secrets, "name", "value", "created", unless_there=True)


def secret(name: str, fresh: bytes, created: int) -> Transaction[bytes]:
    """The bytes kept under `name`: `fresh`, unless somebody was first."""

    def steps(attempt: Attempt) -> Steps[bytes]:
        rows = yield SECRET(of_name=name)
        if not rows:
            yield SECRET_ADD(name=name, value=fresh, created=created)
            rows = yield SECRET(of_name=name)
        return bytes(rows[0][0])

    return steps
