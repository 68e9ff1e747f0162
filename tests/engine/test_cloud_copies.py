"""Copies that Google and Azure make from one bucket or container to another: long ones, refused ones, stuck ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.backends.object_store.azure import AzureBackend, AzureSettings, open_azure
from holdfast.backends.object_store.gcs import GcsBackend, GcsSettings, open_gcs
from holdfast.core import errors
from holdfast.core.backend import Backend, PutOptions, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.jobs.moving import Migrate
from holdfast.layers import stack
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.fakes.gcs import FakeGcs, Fault
from holdfast.testing.proxy import Answer, Proxy
from holdfast.testing.servers import require
from tests import azure_tools
from tests.engine.alone import run_alone
from tests.engine.outage import whereabouts
from tests.helpers import content, engine_on, noise, run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]

DATA = noise(2_500, 1)
LARGE = noise(2 << 20, 2)
OWN = ("x-ms-request-id", "1")  #: what each answer of the service carries


async def read(backend: Backend, name: str) -> bytes:
    async with backend.get(name) as reader:
        return await reader.read()


# -- Google


class Google:
    """A fake with two buckets, and a clock that both sides go by."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.fake = FakeGcs(now=self.clock.now, rewrite_step=1000)
        self.others = self.fake.add_bucket("others")
        self._opened: list[GcsBackend] = []

    def store(self, bucket: str = "blobs", **changed: Any) -> GcsBackend:
        values = {**self.fake.settings(bucket), "part_size": 5 << 20, **changed}
        given = {name: value for name, value in values.items() if value is not None}
        settings = GcsSettings.model_validate(given)
        made = open_gcs(f"in-{bucket}", settings, environment=Environment(clock=self.clock))
        assert isinstance(made, GcsBackend)
        self._opened.append(made)
        return made

    @property
    def rewrites(self) -> list[str]:
        return [one.target for one in self.fake.requests if "/rewriteTo/" in one.target]

    def tell(self, story: Callable[[GcsBackend, GcsBackend], Awaitable[None]], **changed: Any) -> None:
        """Run a story about the store in `others`, and the one in `blobs` with `changed` settings."""

        async def told() -> None:
            try:
                await story(self.store("others"), self.store(**changed))
            finally:
                for one in self._opened:
                    await one.close()

        asyncio.run(told())


@pytest.fixture
def google() -> Iterator[Google]:
    made = Google()
    with made.fake:
        yield made


def test_google_copies_in_as_many_requests_as_it_wants(google: Google) -> None:
    async def story(here: GcsBackend, there: GcsBackend) -> None:
        options = PutOptions("text/plain", {"colour": "deep blue", "ort": "Köln"})
        await here.put("a/b", Body.of_bytes(DATA), options=options)
        google.fake.faults.add(Fault("lost", holds="rewriteToken=token-1000"))
        made = await there.copy_from(here, "a/b", "c")
        assert (made.name, made.size, dict(made.metadata)) == ("c", 2500, dict(options.metadata))
        copy = google.fake.bucket.objects["deep/c"]
        assert copy.data == DATA
        assert copy.headers["content-type"] == "text/plain"
        assert len(google.rewrites) == 4  # three, and the one whose answer was lost
        assert {urlsplit(one).path for one in google.rewrites} == {
            "/storage/v1/b/others/o/a%2Fb/rewriteTo/b/blobs/o/deep%2Fc"
        }

    google.tell(story, prefix="deep/")


def test_a_copy_is_kept_as_the_target_says(google: Google) -> None:
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"

    async def story(here: GcsBackend, there: GcsBackend) -> None:
        await here.put("a", Body.of_bytes(DATA), options=PutOptions("text/plain", {"ort": "Köln"}))
        assert dict((await there.copy_from(here, "a", "b")).metadata) == {"ort": "Köln"}
        headers = dict(google.fake.bucket.objects["b"].headers)
        assert headers.pop("x-goog-storage-class") == "NEARLINE"
        assert headers.pop("x-goog-encryption-kms-key-name") == key
        assert headers == dict(google.others.objects["a"].headers)

    google.tell(story, storage_class="NEARLINE", kms_key=key)


@pytest.mark.parametrize("goes", [False, True])
def test_google_never_mixes_two_contents(google: Google, goes: bool) -> None:
    async def story(here: GcsBackend, there: GcsBackend) -> None:
        await here.put("a", Body.of_bytes(DATA))

        def meanwhile(method: str, target: str) -> None:
            if "rewriteToken=token-1000" in target:
                if goes:
                    del google.others.objects["a"]
                else:
                    google.others.put("a", noise(2_500, 9), {}, None)

        google.fake.faults.chance = meanwhile
        with pytest.raises(errors.UnavailableError, match="the source was changed"):
            await there.copy_from(here, "a", "b")
        assert "b" not in google.fake.bucket.objects

    google.tell(story)


def test_google_is_left_when_it_does_not_get_on(google: Google) -> None:
    async def story(here: GcsBackend, there: GcsBackend) -> None:
        google.fake.rewrite_step = 0
        await here.put("a", Body.of_bytes(DATA))
        with pytest.raises(errors.UnavailableError, match="does not get on"):
            await there.copy_from(here, "a", "b")
        assert len(google.rewrites) == 4

    google.tell(story)


def test_who_pays_for_reading_is_told(google: Google) -> None:
    async def story(here: GcsBackend, there: GcsBackend) -> None:
        paid, payer = google.store("others", user_project="theirs"), google.store(user_project="ours")
        await here.put("a", Body.of_bytes(b"a"))
        for target, said in ((there, ["theirs"]), (payer, None)):
            await target.copy_from(paid, "a", "b")
            assert parse_qs(urlsplit(google.rewrites[-1]).query).get("userProject") == said
        assert google.fake.requests[-2].headers["x-goog-user-project"] == "ours"

    google.tell(story)


def test_google_copies_only_at_one_endpoint_and_what_our_account_may_read(google: Google) -> None:
    async def story(here: GcsBackend, there: GcsBackend) -> None:
        machine = google.store(credentials="metadata", credentials_json=None)
        elsewhere = google.store(endpoint="https://storage.example.com")
        assert machine.can_copy_from(here)
        assert not elsewhere.can_copy_from(here)
        assert not there.can_copy_from(MemoryBackend("memory"))
        await here.put("a", Body.of_bytes(DATA))
        google.others.closed_to = {"metadata"}
        with pytest.raises(errors.PermissionDeniedError):
            await machine.copy_from(here, "a", "b")
        google.others.closed_to = {"jwt-bearer"}
        with pytest.raises(errors.PermissionDeniedError):
            await machine.copy_from(here, "a", "b")
        assert not google.fake.bucket.objects
        absent = google.store("nowhere")
        with pytest.raises(errors.ConfigError, match="bucket"):
            await there.copy_from(absent, "a", "b")
        google.others.closed_to = set()
        with pytest.raises(errors.NotFoundError):
            await absent.copy_from(here, "a", "b")

    google.tell(story)


# -- Azure


@pytest.fixture(scope="module")
def server() -> Iterator[AzureServer]:
    with require(azurite) as running:
        yield running


class Clock(ManualClock):
    """Nobody waits; what was waited is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class Azure:
    """Two containers behind a proxy that is told what to say of copies."""

    def __init__(self, server: AzureServer, proxy: Proxy) -> None:
        self.proxy = proxy
        self.clock = Clock()
        self._clock_of_both = Environment(clock=_Now(self.clock))
        self._port = proxy.port
        self._opened: list[AzureBackend] = []
        self.here = self.store(server)
        self.there = self.store(server, container="another")

    def store(self, server: AzureServer, **changes: Any) -> AzureBackend:
        endpoint = f"http://127.0.0.1:{self._port}/{server.account}"
        made = azure_tools.store(server, self._clock_of_both, endpoint=endpoint, **changes)
        self._opened.append(made)
        return made

    async def close(self) -> None:
        for one in self._opened:
            await one.close()

    def heads(self, *states: dict[str, str]) -> None:
        """Let the next looks at the target say these, one after the other."""
        for state in states:
            said = tuple((f"x-ms-copy-{name}", value) for name, value in state.items())
            self.proxy.script(Answer(200, headers=(OWN, *said), match=_target("HEAD")))

    def begin(self) -> None:
        """Let the copy be made, but be told as one that goes on."""
        state = (("x-ms-copy-id", "c1"), ("x-ms-copy-status", "pending"), OWN)
        self.proxy.script(Answer(202, headers=state, after_effect=True, match=_target("PUT")))

    @property
    def sources(self) -> list[str]:
        return [head.headers["x-ms-copy-source"] for head in self.proxy.seen if _copies(head)]

    @property
    def aborts(self) -> int:
        return sum("comp=copy" in head.target for head in self.proxy.seen)


class _Now(Clock):
    """The time of the machine, which signatures need, in which nobody waits."""

    def __init__(self, told: Clock) -> None:
        super().__init__()
        self.slept = told.slept
        self._began = Environment().clock.now()

    def now(self) -> int:
        return self._began + int(sum(self.slept) * 1e6)


def _copies(head: Any) -> bool:
    return "x-ms-copy-source" in head.headers


def _target(method: str) -> Any:
    return lambda head: head.method == method and head.target.split("?")[0].endswith("/another/to")


def azure(server: AzureServer, story: Callable[[Azure], Awaitable[None]]) -> None:
    async def told() -> None:
        async with Proxy("127.0.0.1", server.port) as proxy:
            world = Azure(server, proxy)
            try:
                await azure_tools.make_container(world.there)
                await world.there.delete("to")
                await world.here.put("from", Body.of_bytes(DATA))
                await story(world)
            finally:
                await world.close()

    run(told())


async def gone(backend: AzureBackend, name: str) -> bool:
    try:
        await backend.head(name)
    except errors.NotFoundError:
        return True
    return False


def test_azure_reads_its_own_account_and_is_lent_a_link_for_others(server: AzureServer) -> None:
    async def story(world: Azure) -> None:
        await world.there.copy_from(world.here, "from", "to")
        assert urlsplit(world.sources[-1]).query == ""
        sas = azure_tools.shared(server)
        narrow = world.store(server, container="another", credentials="sas", sas_token=sas)
        far = world.store(server.other)
        await far.put("from", Body.of_bytes(DATA[::-1]))
        for there, here, data in ((narrow, world.here, DATA), (world.there, far, DATA[::-1])):
            await there.copy_from(here, "from", "to")
            assert await read(world.there, "to") == data
            link = parse_qs(urlsplit(world.sources[-1]).query)
            assert (link["sr"], link["sp"]) == (
                ["b"],
                ["r"],
            )  # one blob, to be read; not what the store itself may
        await far.copy_from(narrow, "to", "back")
        assert await read(far, "back") == DATA[::-1]

    azure(server, story)


def test_what_azure_cannot_be_asked_for_has_to_be_sent(server: AzureServer) -> None:
    async def story(world: Azure) -> None:
        name = "/".join("+" * 240 for _ in range(3))
        await world.here.put(name, Body.of_bytes(DATA))
        with pytest.raises(errors.UnsupportedError, match="2,048"):
            await world.there.copy_from(world.here, name, "to")
        refused = Answer(400, code="CopyAcrossAccountsNotSupported", headers=(OWN,), match=_copies)
        world.proxy.script(refused)
        with pytest.raises(errors.UnsupportedError):
            await world.there.copy_from(world.here, "from", "to")
        await world.here.delete(name)

    azure(server, story)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ({"status": "success"}, None),
        ({"status": "failed", "status-description": '403 Forbidden "x"'}, errors.PermissionDeniedError),
        ({"status": "failed", "status-description": "404 NotFound"}, errors.NotFoundError),
        ({"status": "failed", "status-description": "412 Condition"}, errors.UnavailableError),
        ({"status": "failed", "status-description": "500 Internal"}, errors.UnavailableError),
        ({"status": "aborted"}, errors.UnavailableError),
    ],
    ids=lambda value: (
        str(value.get("status-description", value["status"])) if isinstance(value, dict) else ""
    ),
)
def test_azure_is_waited_for_and_what_failed_is_removed(
    server: AzureServer, end: dict[str, str], kind: type[errors.HoldfastError] | None
) -> None:
    async def story(world: Azure) -> None:
        world.begin()
        pending, ended = {"id": "c1", "status": "pending"}, {"id": "c1", **end}
        world.heads(pending, pending, ended)
        if kind is None:
            assert (await world.there.copy_from(world.here, "from", "to")).size == len(DATA)
            assert await read(world.there, "to") == DATA
        else:
            world.heads(ended)
            with pytest.raises(kind):
                await world.there.copy_from(world.here, "from", "to")
            assert await gone(world.there, "to")
        assert (world.clock.slept, world.aborts) == ([0.2, 0.4, 0.8], 0)
        assert world.proxy.pending == 0

    azure(server, story)


def test_a_copy_that_is_stuck_is_stopped_and_has_to_be_sent(server: AzureServer) -> None:
    async def story(world: Azure) -> None:
        world.begin()
        stuck = (OWN, ("x-ms-copy-id", "c1"), ("x-ms-copy-status", "pending"))
        world.proxy.default = Answer(200, headers=stuck, match=_target("HEAD"))
        with pytest.raises(errors.UnsupportedError, match="copy_timeout = 600 s"):
            await world.there.copy_from(world.here, "from", "to")
        assert 600 <= sum(world.clock.slept) < 620
        world.proxy.default = Answer(200, match=lambda head: False)
        assert world.aborts == 1
        assert await gone(world.there, "to")

    azure(server, story)


def test_a_copy_whose_beginning_was_not_heard_is_found_again(server: AzureServer) -> None:
    async def story(world: Azure) -> None:
        busy = Answer(409, code="PendingCopyOperation", headers=(OWN,), match=_target("PUT"))
        lost = Answer(500, code="InternalError", after_effect=True, match=_target("PUT"))
        source = f"{world.here._client.address.origin}{world.here._client.address.path('from')}"
        world.proxy.script(lost, busy)
        state = {"id": "c1", "status": "pending", "source": source}
        world.heads(state, state, {"id": "c1", "status": "success"})
        await world.there.copy_from(world.here, "from", "to")
        assert await read(world.there, "to") == DATA
        assert world.proxy.pending == 0
        world.proxy.script(busy)
        world.heads({"id": "c2", "status": "pending", "source": "https://elsewhere"})
        with pytest.raises(errors.ConflictError):
            await world.there.copy_from(world.here, "from", "to")
        assert await read(world.there, "to") == DATA

    azure(server, story)


def test_a_copy_that_nobody_waits_for_is_stopped_when_its_name_is_discarded(server: AzureServer) -> None:
    async def story(world: Azure) -> None:
        await world.there.put("to", Body.of_bytes(b""))
        busy = Answer(409, code="PendingCopyOperation", headers=(OWN,), match=_target("DELETE"))
        world.proxy.script(busy)
        world.heads({"id": "c1", "status": "pending"})
        await world.there.discard("to")
        assert world.aborts == 1
        assert await gone(world.there, "to")
        await world.there.put("to", Body.of_bytes(b"kept"))
        world.proxy.script(Answer(409, code="LeaseIdMissing", headers=(OWN,), match=_target("DELETE")))
        with pytest.raises(errors.ConflictError, match="lease"):
            await world.there.discard("to")
        assert await read(world.there, "to") == b"kept"

    azure(server, story)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.PermissionDeniedError),
        (403, errors.PermissionDeniedError),
        (409, errors.PermissionDeniedError),  # no public access
        (404, errors.NotFoundError),
    ],
)
def test_a_source_that_azure_cannot_have_is_told(
    server: AzureServer, status: int, kind: type[errors.HoldfastError]
) -> None:
    async def story(world: Azure) -> None:
        world.proxy.script(Answer(status, code="CannotVerifyCopySource", headers=(OWN,), match=_copies))
        with pytest.raises(kind):
            await world.there.copy_from(world.here, "from", "to")
        assert len(world.sources) == 1
        assert await gone(world.there, "to")
        world.proxy.script(Answer(503, code="CannotVerifyCopySource", headers=(OWN,), match=_copies))
        await world.there.copy_from(world.here, "from", "to")

    azure(server, story)


def _account(account: str = "one", suffix: str = "blob.core.windows.net", **more: Any) -> AzureBackend:
    values: dict[str, Any] = {
        "account": account,
        "container": "box",
        "endpoint": f"https://{account}.{suffix}",
        **({} if "credentials" in more else {"account_key": "a2V5"}),
        **more,
    }
    return open_azure("az", AzureSettings.model_validate(values), environment=Environment())


def test_which_accounts_azure_copies_between() -> None:
    sas = {"credentials": "sas", "sas_token": "?sv=1&sig=x"}
    identity = {"credentials": "managed_identity"}
    mute = {**identity, "delegation": False}

    async def story() -> None:
        key, signature, nobody = _account(), _account(**sas), _account(**mute)
        others = [
            (_account("two"), True),
            (_account("two", **sas), True),
            (_account("two", **identity), True),
            (_account("two", **mute), False),
            (_account("two", "blob.core.chinacloudapi.cn"), False),
            (_account("two", endpoint="https://files.example.com"), False),
        ]
        domain = _account(endpoint="https://data.example.com")
        others.append((domain, False))  # nobody can tell whose it is
        within = [
            (domain, others[-2][0], False),
            (key, signature, True),
            (signature, key, True),
            (signature, signature, True),
        ]
        within += [(key, nobody, True), (nobody, nobody, True), (signature, nobody, False)]
        for there, here, can in [*within, *((key, other, can) for other, can in others)]:
            assert there.can_copy_from(here) is can, (there._settings, here._settings)
        assert not key.can_copy_from(MemoryBackend("memory"))
        for one in (key, signature, nobody, *(other for other, _ in others)):
            await one.close()

    run(story())


# -- by the engine: what a server will not copy is sent


@pytest.mark.parametrize("closed", [False, True])
def test_a_migration_between_buckets_sends_what_google_may_not_copy(
    google: Google, sqlite_url: str, closed: bool
) -> None:
    google.fake.rewrite_step = 1 << 20

    async def story() -> None:
        environment = Environment()
        machine = {"credentials": "metadata", "credentials_json": None}
        one, two = google.store("others"), google.store(**machine)
        if closed:
            google.others.closed_to = {"metadata"}
        await migrated(sqlite_url, environment, one, two)
        assert len(google.rewrites) == (1 if closed else 2)

    run(story())


def test_a_migration_between_containers_is_made_by_azure(server: AzureServer, sqlite_url: str) -> None:
    async def story(world: Azure) -> None:
        await migrated(sqlite_url, Environment(), world.here, world.there)
        assert len(world.sources) == 1

    azure(server, story)


async def migrated(url: str, environment: Environment, one: Backend, two: Backend) -> None:
    """Put an object, move it from one store to the other, and read it there."""
    settings = stack.StackSettings(attempts=1, describe="always")
    first, second = (
        Store(name, stack.build(driver, settings, environment=environment))
        for name, driver in (("one", one), ("two", two))
    )
    async with engine_on(url, first, second, environment=environment, acknowledge=1) as (engine, session):
        placing = engine.context.placing
        rule = replace(placing.own.default, stores=("one",))
        placing.own = placing._current = replace(placing.own, default=rule)
        await session.put("plain", "large", Body.of_bytes(LARGE))
        ran = await run_alone(
            engine, Migrate(), {"source": "one", "target": "two", "keep": 0}, most_rounds=15
        )
        assert [failure.message for failure in ran.failures] == []
        assert await whereabouts(engine, session, "plain", "large") == ["two"]
        assert await content(session, "plain", "large") == LARGE
