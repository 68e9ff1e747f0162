"""Stores that others write to and that cannot be used: told when they are named, and never as objects that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from holdfast.backends.object_store import open_s3
from holdfast.core.adopted import Upstream, foreign_name
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, ConflictError, NotFoundError, UnavailableError
from holdfast.engine.probe import check_usable
from holdfast.jobs.adopt import Adopt
from holdfast.jobs.follow import Follow
from holdfast.testing.servers import S3Server, free_port, moto_s3, require
from tests.engine.outage import Ground
from tests.engine.sleeping import asked
from tests.helpers import ADMIN, run

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with require(moto_s3) as server:
        yield server


def opened(server: S3Server, **changes: object) -> Store:
    settings = asked(server, **{"storage_class": "", "retries": 0, **changes})
    return Store("theirs", open_s3("theirs", settings, environment=Environment()))


def silent() -> S3Server:
    """Return a server that is not there."""
    return S3Server("moto", f"http://127.0.0.1:{free_port()}", "us-east-1", "b", "k", "s")


def test_a_bucket_that_is_not_there_is_no_missing_object(moto: S3Server) -> None:
    async def story() -> None:
        there, nowhere = opened(moto), opened(moto, bucket="nowhere")
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await there.backend.head(foreign_name("a"))
            with pytest.raises(ConfigError, match="the bucket does not exist"):
                await nowhere.backend.head(foreign_name("a"))
        await there.backend.close()
        await nowhere.backend.close()

    run(story())


def test_what_will_not_let_us_in_is_told_and_what_does_not_answer_where_it_must(moto: S3Server) -> None:
    async def story() -> None:
        environment = Environment()
        there, nowhere, gone = opened(moto), opened(moto, bucket="nowhere"), opened(silent())
        await check_usable(there, environment, answers=True)
        await check_usable(gone, environment)
        with pytest.raises(UnavailableError, match="store 'theirs' cannot be used"):
            await check_usable(gone, environment, answers=True)
        with pytest.raises(ConflictError, match="store 'theirs' cannot be used: the bucket does not exist"):
            await check_usable(nowhere, environment)
        for store in (there, nowhere, gone):
            await store.backend.close()

    run(story())


def test_it_is_neither_attached_nor_followed_nor_adopted(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with Ground(sqlite_url).opened() as (engine, _):
            engine.stores.own["theirs"] = opened(moto, bucket="nowhere")
            wish = Upstream("default", "plain", "theirs")
            with pytest.raises(ConflictError, match="the bucket does not exist"):
                await engine.session(replace(ADMIN, role="operator")).admin.upstreams.attach(wish)
            await engine.catalog.attach_upstream(wish)
            place = {"tenant": "default", "bucket": "plain"}
            with pytest.raises(ConflictError, match="the bucket does not exist"):
                await Follow().look(engine, Follow().check(place))
            with pytest.raises(ConflictError, match="the bucket does not exist"):
                await Adopt().look(engine, Adopt().check({**place, "store": "theirs"}))

    run(story())
