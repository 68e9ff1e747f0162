"""The composition root: settings → stores → catalog → engine → doors. Read it to see the machine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from holdfast.catalog import Measures, open_catalog
from holdfast.config import Settings, legacy
from holdfast.config.prices import price_rows
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    DeadlineError,
    HoldfastError,
    InvalidRequestError,
    UnavailableError,
)
from holdfast.core.failpoints import arm_from_environment
from holdfast.core.ledger import Ledger
from holdfast.core.notes import Notes
from holdfast.core.types import Principal, Rate
from holdfast.drivers import InstalledDrivers, described, open_store
from holdfast.engine.engine import Engine
from holdfast.engine.key_command import seal_keys_of
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.keys import Authenticator, create_key
from holdfast.engine.notes import CatalogNotes
from holdfast.engine.probe import probe
from holdfast.engine.sealing import sealer_of
from holdfast.engine.secrets import root_secret
from holdfast.engine.settings import EngineSettings
from holdfast.engine.stores import Stores
from holdfast.engine.trust import open_tokens
from holdfast.engine.wrapping import root_keys
from holdfast.jobs.artifacts import keep_counting_reads
from holdfast.jobs.defaults import schedule_once
from holdfast.jobs.expire import keep_expiring
from holdfast.jobs.installed import installed
from holdfast.jobs.measuring import keep_measuring
from holdfast.jobs.reconcile import keep_paying
from holdfast.jobs.returning import keep_watching
from holdfast.jobs.runner import Runner
from holdfast.jobs.schedules import keep_forgetting, keep_starting
from holdfast.jobs.seal import keep_sealing
from holdfast.jobs.sweep import keep_sweeping
from holdfast.jobs.tenants import keep_removing_tenants
from holdfast.layers.metrics import StoreMetrics
from holdfast.policy import prices
from holdfast.policy.artifacts import KINDS, Naming
from holdfast.policy.backups import BackupSettings
from holdfast.policy.placement import Placement, Rule, WhenDown
from holdfast.policy.rule_form import check_rules, rules_of

_LOG: Final = logging.getLogger("holdfast")
Say = Callable[[str], None]
_TURN: Final = 0.0005  #: seconds that a thread beside the loop may hold the interpreter while requests wait
_COLLECT: Final = 10_000  #: objects between two looks of the collector: some hundred requests
_TOLD: Final = 5  #: keys of tenants that do not open, of which is said why
_BALLAST: Final = 8 << 20  #: bytes kept beside an SQLite catalog for making room on a full disk


def _say(text: str) -> None:
    """Tell the operator, not the log."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _hush(text: str) -> None:
    """Say nothing: another process has said it."""


@cache
def store_metrics() -> StoreMetrics:
    """Return the figures of all stores of this process, which `/metrics` shows."""
    return StoreMetrics()


async def open_engine(
    settings: Settings,
    *,
    environment: Environment | None = None,
    metrics: StoreMetrics | None = None,
    measures: Measures | None = None,
    rebuilding: bool = False,
) -> Engine:
    """Return an engine over the configured stores and catalog; close it with `await engine.close()`.

    The first start makes the data directory, the schema and the tenant. With `rebuilding` it makes no tenant, and the
    stores may hold objects that a new catalog does not know.

    Raises:
        ConfigError: a setting is wrong. UnavailableError: the catalog cannot be reached.
    """
    environment = environment or Environment()
    _make_data_directory(settings)
    catalog = await open_catalog(
        settings.catalog_url,
        environment=environment,
        upgrade=settings.auto_upgrade,
        measures=measures,
        ballast=_BALLAST,
    )
    ledger = Ledger()
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(catalog.close)
        secret = await root_secret(catalog, environment, settings.secret.get_secret_value())
        seal_keys = await seal_keys_of(
            settings.seal_keys.get_secret_value(), settings.seal_keys_command, settings.seal_keys_timeout
        )
        sealer = sealer_of(seal_keys, secret, environment)
        keys = CatalogKeyRing(catalog, root_keys(seal_keys, secret, environment), environment.clock)

        def notes(store: str) -> Notes:
            return CatalogNotes(catalog, store, sealer)

        stores: dict[str, Store] = {}
        for name, store_settings in settings.all_stores.items():
            stores[name] = open_store(
                name,
                store_settings,
                environment,
                metrics=metrics,
                notes=notes(name),
                keys=keys,
                caches=settings.caches,
                ledger=ledger,
            )
            undo.push_async_callback(stores[name].backend.close)
        live = Stores(
            stores,
            catalog,
            environment.clock,
            drivers=InstalledDrivers(environment, metrics, notes, keys, settings.caches, ledger),
            sealer=sealer,
            described=described(settings),
        )
        await live.refresh()
        engine = Engine(
            catalog,
            live,
            placement_of(settings, live),
            environment=environment,
            settings=_engine_settings(settings),
            secret=secret,
            keys=keys,
            ledger=ledger,
        )
        if rebuilding:
            undo.pop_all()
            return engine
        if not await catalog.tenants():
            await _refuse_foreign_objects(stores, settings, engine.context.placement.stores)
        with contextlib.suppress(AlreadyExistsError):
            await catalog.create_tenant(settings.tenant)
        undo.pop_all()
        return engine
    raise AssertionError  # unreachable: the stack does not swallow


def placement_of(settings: Settings, stores: Collection[str]) -> Placement:
    """Return the placement that the settings describe.

    Raises:
        ConfigError: a rule cannot be followed with these `stores`; it names the rule.
    """
    said = settings.placement
    usual = Rule(
        "default",
        settings.placement_stores,
        acknowledge=said.acknowledge,
        when_down=WhenDown(said.when_down),
        fallback=said.fallback,
        encrypt=said.encrypt,
    )
    try:
        rules = check_rules(rules_of([rule.members for rule in said.rules]), stores)
        check_rules([replace(usual, name="placement")], {*stores, *usual.stores})
    except InvalidRequestError as error:
        raise ConfigError(f"placement: {error.message}") from None
    return Placement(usual, rules, said.inline)


def local_principal(settings: Settings) -> Principal:
    """Return who uses the engine without a server: whoever may read its files may do everything."""
    return Principal(id="local", tenant=settings.tenant, role="operator", name="embedded")


async def first_token(engine: Engine, settings: Settings) -> str | None:
    """Make the first token, of an operator, and return it, or None when the catalog already has a key."""
    if await engine.catalog.api_keys():
        return None
    return await create_key(
        engine.catalog,
        engine.context.environment,
        tenant=settings.tenant,
        name="first admin",
        role="operator",
    )


def serve(settings: Settings, *, say: Say | None = None) -> int:
    """Run the service until it is told to stop (SIGINT, SIGTERM); return the exit status.

    Raises:
        HoldfastError: it cannot start: a setting is wrong, or the catalog cannot be reached.
    """
    from holdfast.api.server import certificate_of, listen, supervise, url_of

    say = say or _say
    arm_from_environment()
    _check_exposure(settings)
    certificate_of(settings.tls)  # so that a wrong one is told before anything else is done
    listener = listen(settings.host, settings.port)
    if settings.workers == 1:
        _work(listener, settings, say)
        return 0
    asyncio.run(_prepare(settings, say))
    say(f"Holdfast listens on {url_of(listener, settings.tls)} with {settings.workers} processes")
    with _shared(settings) as shared:
        grace = settings.limits.shutdown_delay + settings.limits.shutdown_timeout + 20.0
        return supervise(_work, shared, count=settings.workers, listener=listener, grace=grace)


@contextlib.contextmanager
def _shared(settings: Settings) -> Iterator[Settings]:
    """Give the settings with a private directory for what worker processes share, removed in the end."""
    if settings.shared is not None:
        yield settings
        return
    try:
        made = tempfile.TemporaryDirectory(prefix="holdfast-")
    except OSError as error:
        raise ConfigError(
            f"cannot make a directory for what worker processes share: {error.strerror}; name one (HOLDFAST_SHARED)"
        ) from error
    with made as path:
        yield settings.model_copy(update={"shared": Path(path)})


def _work(listener: socket.socket, settings: Settings, say: Say | None = None) -> None:
    """Serve on `listener` in this process."""
    import uvloop

    from holdfast.api.logs import configure

    configure(settings.log_level)
    uvloop.run(_serve(listener, settings, say or _hush))


async def _serve(listener: socket.socket, settings: Settings, say: Say) -> None:
    from holdfast.api import server

    async with running(settings, say) as door:
        _settle()
        await server.serve(door, settings, say=say, listener=listener)


def _settle() -> None:
    """Keep pauses short: the collector no longer looks through what the start made, and threads take turns sooner."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT, 20, 20)
    sys.setswitchinterval(_TURN)


async def _prepare(settings: Settings, say: Say) -> None:
    """Do once what workers must not do each: schema, tenant, first token."""
    engine = await open_engine(settings)
    try:
        await _announce_token(engine, settings, say)
        await _look_around(engine, settings, say)
    finally:
        await engine.close()


async def _look_around(engine: Engine, settings: Settings, say: Say) -> None:
    """Say what an operator should know at the start, and make the buckets that settings name.

    Raises:
        ConfigError: a store that takes new objects answers, but has no such bucket or does not let us in.
    """
    for warning in legacy.warnings(os.environ):
        say(f"WARNING: {warning}")
    sealed_away = engine.stores.sealed_away()
    for trouble in sealed_away.values():
        say(f"WARNING: {trouble}")
    locked = [] if engine.context.keys is None else await engine.context.keys.locked()
    for trouble in locked[:_TOLD]:
        say(f"WARNING: {trouble}")
    if len(locked) > _TOLD:
        say(f"WARNING: {len(locked) - _TOLD} more keys of tenants do not open")
    for name in engine.context.placement.stores:
        if name in sealed_away:
            continue
        found = await probe(engine.stores[name].backend, engine.context.environment)
        if found.connected and not found.usable:
            raise _unusable(settings, name, found.problem)
        if not found.usable:
            say(f"WARNING: store {name} does not answer yet: {found.problem}")
    wanted = list(settings.buckets)
    if "default_bucket" in settings.model_fields_set and settings.default_bucket:
        wanted.append(settings.default_bucket)
    session = engine.session(local_principal(settings))
    for bucket in wanted:
        with contextlib.suppress(AlreadyExistsError):
            await session.create_bucket(bucket)
    if settings.artifacts.make_buckets:
        for kind in KINDS:
            await session.create_default_bucket(kind)


def _unusable(settings: Settings, name: str, problem: str) -> ConfigError:
    """Return the error of a store that answers but cannot be used, with the bucket and the server that were meant."""
    known = settings.all_stores[name].driver_settings if name in settings.all_stores else {}
    place = ""
    if bucket := known.get("bucket"):
        host = urlsplit(str(known.get("endpoint") or "")).netloc.rpartition("@")[2]
        named = legacy.bucket_variables(os.environ, name) or f"`bucket` of [stores.{name}]"
        place = f" (bucket {bucket!r}{f' at {host}' if host else ''}, named by {named})"
    return ConfigError(f"store {name} cannot be used{place}: {problem}")


async def _announce_token(engine: Engine, settings: Settings, say: Say) -> None:
    if not settings.dev and (token := await first_token(engine, settings)) is not None:
        say(f"First start. The admin token, shown only this once:\n\n    {token}\n")


async def _work_on_jobs(engine: Engine, at_once: int) -> None:
    """Work on jobs and start what is scheduled, until cancelled; what is under way then comes to a stop first."""
    kinds = installed()
    works = [keep_forgetting(engine)]
    if at_once:
        works += [Runner(engine, kinds, at_once=at_once).run(), keep_starting(engine, kinds)]
    await asyncio.gather(*works)


@asynccontextmanager
async def running(settings: Settings, say: Say) -> AsyncIterator[object]:
    """Give the ASGI application over an open engine, with the background work beside it."""
    from holdfast.api import create_app
    from holdfast.api.metrics import catalog_measures

    engine = await open_engine(settings, metrics=store_metrics(), measures=catalog_measures())
    sweeper = asyncio.ensure_future(keep_sweeping(engine, settings.sweep_interval))
    sealer = asyncio.ensure_future(keep_sealing(engine))
    expirer = asyncio.ensure_future(keep_expiring(engine, settings.expire_interval))
    payer = asyncio.ensure_future(keep_paying(engine, settings.reconcile_interval))
    watcher = asyncio.ensure_future(keep_watching(engine, pays=settings.reconcile_interval > 0))
    remover = asyncio.ensure_future(keep_removing_tenants(engine, settings.tenants_interval))
    counter = asyncio.ensure_future(keep_counting_reads(engine))
    measurer = asyncio.ensure_future(keep_measuring(engine, settings.measure_interval))
    worker = asyncio.ensure_future(_work_on_jobs(engine, settings.jobs_at_once))
    try:
        if settings.jobs_at_once:
            await schedule_once(engine, installed(), "lifecycle", settings.lifecycle_schedule)
        if settings.dev:
            principal = Principal(id="dev", tenant=settings.tenant, role="operator", name="dev")

            async def authenticate(token: str) -> Principal:
                return principal
        else:
            clock = engine.context.environment.clock
            tokens = open_tokens(settings.auth, engine.context.secret, engine.catalog, clock)
            authenticate = Authenticator(engine.catalog, clock, tokens)
            await _announce_token(engine, settings, say)
        if settings.workers == 1:
            await _look_around(engine, settings, say)
        door = create_app(engine, authenticate=authenticate, settings=settings)
        sharer = asyncio.ensure_future(door.scrape.keep_sharing())
        try:
            yield door
        finally:
            sharer.cancel()
            await asyncio.gather(sharer, return_exceptions=True)
            door.scrape.close()
    finally:
        sweeper.cancel()
        sealer.cancel()
        expirer.cancel()
        payer.cancel()
        watcher.cancel()
        remover.cancel()
        counter.cancel()
        measurer.cancel()
        worker.cancel()
        await asyncio.gather(
            *(sweeper, sealer, expirer, payer, watcher, remover, counter, measurer, worker),
            return_exceptions=True,
        )
        await engine.close()
        await asyncio.sleep(0.05)  # lets the threads of the S3 client come to rest before the loop goes


async def _refuse_foreign_objects(
    stores: Mapping[str, Store], settings: Settings, used: Collection[str]
) -> None:
    """Refuse a new catalog over objects of an old one: nobody would find them, and their catalog is missing somewhere.

    A store that takes no new objects may be one that cannot be used yet; a warning says so.
    """
    for store in stores.values():
        try:
            found = await _first_blob(store, settings)
        except HoldfastError as error:
            error.store = error.store or store.name
            if store.name in used:
                raise
            _LOG.warning("store %s was not looked into: %s", store.name, error.message)
            continue
        if found:
            raise ConfigError(
                f"the catalog is new, but store {store.name} already holds objects ({found}); restore the "
                "catalog that belongs to them, make it anew from them (holdfast catalog rebuild), or give the store"
                " another path or prefix"
            )


async def _first_blob(store: Store, settings: Settings) -> str:
    """Return the name of a blob of the settings' tenant, "" when there is none or the store does not answer.

    Raises:
        ConfigError: the store answers that it cannot be used; it says which place was meant.
    """
    try:
        async for blob in store.backend.list(f"{settings.tenant}/"):
            return blob.name
    except (UnavailableError, DeadlineError):
        return ""
    except ConfigError as error:
        raise _unusable(settings, store.name, error.message) from error
    return ""


def _engine_settings(settings: Settings) -> EngineSettings:
    return EngineSettings(
        max_object_size=settings.limits.max_object_size,
        md5_limit=settings.md5_limit,
        hot=settings.hot,
        lease=settings.lease,
        grace=settings.grace,
        upload_lifetime=settings.upload_lifetime,
        idempotency_lifetime=settings.idempotency_lifetime,
        redirect_signed=settings.redirect_signed,
        artifact_buckets=Naming(settings.artifacts.prefix, settings.artifacts.bucket),
        artifact_roots=settings.artifacts.roots,
        prices=prices.parse(*price_rows(settings.price_book)),
        backup=_backup_settings(settings),
        default_retention_days=settings.default_retention_days,
        failover_after=settings.failover_after,
        failover_rate=settings.failover_rate,
        principal_rate=Rate(
            settings.rate.principal.requests,
            settings.rate.principal.bytes_in,
            settings.rate.principal.bytes_out,
        ),
    )


def _backup_settings(settings: Settings) -> BackupSettings:
    given = settings.backup
    return BackupSettings(
        given.store, given.recipients, given.compression, given.auto_split, given.max_size, given.chunk_size
    )


def _make_data_directory(settings: Settings) -> None:
    if settings.catalog and settings.stores:
        return
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the data directory {settings.data}: {error.strerror}") from error
    if not os.access(settings.data, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"the data directory {settings.data} is not readable and writable for this user")


def _check_exposure(settings: Settings) -> None:
    if not settings.dev:
        return
    try:
        loopback = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = settings.host == "localhost"
    if not loopback:
        raise ConfigError(f"--dev needs no token and so listens on loopback only, not on {settings.host}")
