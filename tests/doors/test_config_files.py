"""Files that say what the catalog shall be like, and files made of older configurations: on the command line and over REST."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast.app import local_principal, open_engine, running
from holdfast.cli.app import app
from holdfast.config import Settings, legacy, load
from holdfast.core.body import Body
from holdfast.core.errors import ConfigError, UnauthenticatedError, UnavailableError
from holdfast.core.types import Principal
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk
from holdfast.testing.servers import S3Server, moto_s3, require
from tests.doors.rest_service import Service, serving
from tests.helpers import content, run
from tests.unit.test_near_far import ONE, TWO

pytestmark = pytest.mark.doors
PLANTED = "planted-secret-3a9c"
SITE = """
[apply.tenants.acme]
max_bytes = "1GB"

[apply.buckets.photos]
tenant = "acme"
retention_days = 90

[apply.stores.cold]
driver = "local"
path = "{root}/cold"
create = true
labels = ["cold"]

[[apply.rules]]
name = "archives"
stores = ["cold"]
match.keys = ["*.zip"]
inline = 0
"""


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name in legacy.VARIABLES or name.startswith(("MINIO_", "HOLDFAST_", "AWS_")):
            monkeypatch.delenv(name)


def holdfast(*arguments: str, status: int = 0, stdin: str = "", **variables: str) -> str:
    """Run a command in this process and return what it printed."""
    done = CliRunner().invoke(app, list(arguments), input=stdin, env={"COLUMNS": "200", **variables})
    assert done.exit_code == status, (arguments, done.exit_code, done.output, done.exception)
    return done.output


@pytest.fixture
def site(tmp_path: Path) -> str:
    (tmp_path / "site.toml").write_text(SITE.replace("{root}", str(tmp_path)))
    return str(tmp_path / "site.toml")


# -- plan and apply ---------------------------------------------------------------------------------------------------
def test_a_plan_is_shown_and_then_made_once(site: str) -> None:
    holdfast("mb", "plain")
    shown = holdfast("plan", site, "--detailed-exitcode", status=2)
    assert "+ tenant acme" in shown
    assert "    max_bytes = 1073741824" in shown
    assert "+ store cold" in shown
    assert "4 to create, 0 to change, 0 to remove" in shown
    assert "say --yes" in holdfast("apply", site, status=7)
    assert "4 created, 0 changed, 0 removed" in holdfast("apply", site, "--yes")
    assert "nothing to change" in holdfast("plan", site, "--detailed-exitcode")
    assert "nothing to change" in holdfast("apply", site)
    Path(site).write_text(Path(site).read_text().replace("90", "30"))
    shown = holdfast("plan", site)
    assert "~ bucket acme/photos\n    retention_days: 90 → 30" in shown
    [line] = [json.loads(line) for line in holdfast("plan", site, "--json").splitlines()]
    assert (line["action"], line["kind"], line["name"]) == ("change", "bucket", "acme/photos")
    assert line["edits"] == [{"member": "retention_days", "old": 90, "new": 30}]


def test_a_plan_where_nothing_is_there_yet_makes_nothing(site: str) -> None:
    with Path(site).open("a") as file:
        file.write('[stores.local]\ndriver = "local"\npath = "objects"\ncreate = true\n')
        file.write(
            '[stores.far]\ndriver = "s3"\nendpoint = "https://127.0.0.1:1"\nbucket = "b"\nregion = "r"\n'
        )
        file.write('access_key = "k"\nsecret_key = "s"\n[placement]\nstores = ["local"]\n')
    Path(site).rename("holdfast.toml")
    shown = holdfast("plan", "--detailed-exitcode", status=2)
    assert "nothing is there yet: " in shown
    assert "4 to create, 0 to change, 0 to remove" in shown
    assert sorted(path.name for path in Path().iterdir()) == ["holdfast.toml"]
    assert "4 created" in holdfast("apply", "--yes")
    assert "nothing to change" in holdfast("plan")


def test_what_was_applied_holds_for_a_process(site: str) -> None:
    holdfast("apply", site, "--yes")  # also makes the data directory
    Path("a.zip").write_bytes(b"zip")
    holdfast("mb", "plain")
    holdfast("put", "a.zip", "plain/a.zip")
    assert [
        path.read_bytes() for path in Path("cold").rglob("*") if path.is_file() and path.name[0] != "#"
    ] == [b"zip"]


def test_secrets_of_stores_are_nowhere_to_be_seen(tmp_path: Path) -> None:
    Path("secret").write_text(PLANTED)
    Path("secret").chmod(0o600)
    Path("site.toml").write_text(
        '[apply.stores.far]\ndriver = "s3"\nendpoint = "http://127.0.0.1:1"\nallow_http = true\nbucket = "b"\n'
        'access_key = "AKIA"\nsecret_key_file = "secret"\nconnect_timeout = 0.5\nretries = 0\nattempts = 1\n'
    )
    holdfast("mb", "plain")
    shown = holdfast("plan", "site.toml") + holdfast("plan", "site.toml", "--json")
    assert "settings.secret_key = (secret)" in shown
    told = holdfast("apply", "site.toml", "--yes", status=19)
    assert "create store far failed: the store was created, but not activated: its test failed: " in told
    again = holdfast("plan", "site.toml")
    assert "~ store far\n    active: false → true" in again
    assert PLANTED not in shown + told + again


def test_prune_refuses_what_is_not_empty(site: str) -> None:
    holdfast("apply", site, "--yes")
    Path("only.toml").write_text("[apply.buckets.kept]\n")
    holdfast("mb", "full")
    Path("a").write_bytes(b"a")
    holdfast("put", "a", "full/a")
    assert "- bucket default/full\n    ! cannot be done: it is not empty" in holdfast(
        "plan", "only.toml", "--prune", status=6
    )
    assert "nothing was done" in holdfast("apply", "only.toml", "--prune", "--yes", status=6)
    holdfast("rm", "full/a")
    assert "1 created, 0 changed, 1 removed" in holdfast("apply", "only.toml", "--prune", "--yes")


@pytest.mark.parametrize(
    ("command", "rest"),
    [
        (("plan",), "/api/v1/config/plan"),
        (("placement", "rules", "list"), "/api/v1/placement/rules"),
        (("store",), "/api/v1/stores"),
        (("cost", "report"), "/api/v1/cost"),
        (("reconcile",), "/api/v1/reconcile"),
    ],
)
def test_commands_beside_the_catalog_do_not_offer_a_server(command: tuple[str, ...], rest: str) -> None:
    shown = holdfast(*command, "--help")
    assert "Works beside the catalog, with --data or --config" in shown
    assert rest in shown
    assert "--server" not in shown
    if command != ("store",):
        assert "run it there" in holdfast(*command, "--server", "http://127.0.0.1:1", status=19)


def test_hints_tell_what_helps() -> None:
    Path("old.json").write_text("{")
    Path("holdfast.toml").write_text("colour = 1\n")
    told = holdfast("config", "import", "old.json", status=19) + holdfast("config", "show", status=19)
    assert "mend what is imported" in told
    assert "config show tells" not in told
    Path("holdfast.toml").unlink()
    assert "see: holdfast config import --help" in holdfast("config", "import", status=7)
    holdfast("mb", "plain")
    assert "holdfast store list" in holdfast("store", "show", "nowhere", status=3)
    assert "holdfast placement rules list" in holdfast("placement", "rules", "remove", "none", status=3)


def test_the_configuration_file_is_read_when_none_is_named(site: str) -> None:
    assert "there is no file to read" in holdfast("apply", status=19)
    Path(site).rename("holdfast.toml")
    assert "4 created" in holdfast("apply", "--yes")
    Path("holdfast.toml").write_text("port = 8123\n")
    assert "has no [apply" in holdfast("plan", status=19)


# -- over REST --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    async def who(token: str) -> Principal:
        if token not in ("operator", "admin"):
            raise UnauthenticatedError("no such token")
        return Principal(f"a-{token}", "default", token)

    with serving(tmp_path_factory.mktemp("rest"), authenticate=lambda engine: who) as running_:
        yield running_


def ask(service: Service, what: str, body: Mapping[str, Any], token: str = "operator") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    answer = service.ask("POST", f"/api/v1/config/{what}", json.dumps(body), headers)
    return answer.status, answer.json


def test_the_same_over_rest(service: Service) -> None:
    body = {
        "tenants": {"acme": {"max_bytes": "1GB"}},
        "buckets": {"photos": {"tenant": "acme"}},
        "rules": [{"name": "all", "stores": ["local"], "match": {"keys": ["*.zip"]}}],
    }
    status, plan = ask(service, "plan", body)
    assert (status, [change["action"] for change in plan["changes"]]) == (200, ["create"] * 3)
    assert ask(service, "apply", {**body, "plan": "another"})[0] == 409
    assert ask(service, "apply", {**body, "plan": plan["plan"]}) == (200, plan)
    assert ask(service, "apply", body)[1]["changes"] == []
    status, gone = ask(service, "plan", {"rules": [], "prune": True})
    assert [(change["action"], change["name"]) for change in gone["changes"]] == [("remove", "all")]


def test_only_operators_may(service: Service) -> None:
    for what in ("plan", "apply"):
        assert ask(service, what, {"buckets": {"more": {}}}, "admin")[0] == 403
    assert not any(
        change["trouble"] for change in ask(service, "plan", {"buckets": {"more": {}}})[1]["changes"]
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"buckets": {"photos": {"max_byte": 1}}}, "unknown setting apply.buckets.photos.max_byte"),
        ({"stores": {"far": {"driver": "s3", "secret_key": PLANTED}}}, "opened without drivers"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_is_wrong_is_told_over_rest(service: Service, body: Mapping[str, Any], told: str) -> None:
    status, answer = ask(service, "plan", body)
    assert status == 400
    assert told in json.dumps(answer)
    assert PLANTED not in json.dumps(answer)


# -- older configurations, opened ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with require(moto_s3) as server:
        yield server


def on(s3: S3Server, variables: Mapping[str, str], **more: str) -> dict[str, str]:
    """Return `variables` with the server's address and keys in place of theirs."""
    values = {"ENDPOINT": s3.endpoint, "ENDPOINT_URL": s3.endpoint, "ACCESS_KEY": s3.access_key}
    values |= {
        "SECRET_KEY": s3.secret_key,
        "ACCESS_KEY_ID": s3.access_key,
        "SECRET_ACCESS_KEY": s3.secret_key,
    }
    found = dict(variables)
    for name in variables:
        for ending, value in values.items():
            if name.endswith("_" + ending):
                found[name] = value
    return {**found, **more}


def make_bucket(s3: S3Server, name: str) -> None:
    """Make a bucket on the server, as whoever ran the older service has."""
    connection = http.client.HTTPConnection(s3.host, s3.port, timeout=20)
    try:
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


async def places(settings: Settings, *objects: str, make: bool = False) -> dict[str, list[str]]:
    """Put each `tenant:bucket/key` and return by store what it holds of them; each is read back whole."""
    engine = await open_engine(settings)
    try:
        for name in objects:
            tenant, _, path = name.rpartition(":")
            bucket, _, key = path.partition("/")
            who = local_principal(settings)
            session = engine.session(Principal(who.id, tenant or who.tenant, "operator"))
            if make:
                await session.create_bucket(bucket)
            await session.put(bucket, key, Body.of_bytes(key.encode()))
            assert await content(session, bucket, key) == key.encode()
        found = {}
        for name, store in engine.stores.items():
            found[name] = [
                (await read(store, blob.name)).decode() for blob in [b async for b in store.backend.list()]
            ]
        return {name: sorted(keys) for name, keys in found.items() if keys}
    finally:
        await engine.close()


async def read(store: Any, name: str) -> bytes:
    async with store.backend.get(name) as reader:
        found: bytes = await reader.read()
        return found


OBJECTS = ("model-weights/w", "training-checkpoints/c", "config-schemas/s", "training-datasets/d")


@pytest.mark.parametrize("imported", [False, True], ids=["variables", "imported"])
@pytest.mark.parametrize("variables", [TWO, ONE], ids=["two", "single"])
def test_each_bucket_lies_near_or_far(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], imported: bool
) -> None:
    for bucket in ("model-weights", "training-datasets"):
        make_bucket(s3, bucket)
    given = on(s3, variables)
    tenant = f"t{len(variables)}{imported}".lower()
    if imported:
        holdfast("config", "import", "--env", "-o", "holdfast.toml", **given)
    else:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
    settings = load(data=tmp_path / "data", tenant=tenant)

    async def story() -> None:
        async with running(settings, lambda text: None):  # a start makes the buckets
            pass
        found = await places(settings, *OBJECTS)
        assert {name: found[name] for name in ("internal", "external")} == {
            name: sorted([*before.get(name, ()), *mine])
            for name, mine in {"internal": ["c", "s", "w"], "external": ["d"]}.items()
        }
        assert "catalog" not in found

    before: dict[str, list[str]] = run(places(load(data=tmp_path / "other", tenant="looker")))
    run(story())


def test_content_types_of_an_older_file_go_where_it_said(s3: S3Server, tmp_path: Path) -> None:
    with FakeYandexDisk() as fake:
        _content_types(s3, fake)


def _content_types(s3: S3Server, fake: FakeYandexDisk) -> None:
    minio = {
        "endpoint": s3.endpoint,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
        "bucket": s3.bucket,
    }
    kinds = {"portraits": "local", "videos": "minio", "previews": "yandex_disk", "stickers": "google_drive"}
    drive = {"oauth_token": fake.accounts.access, "api_url": f"{fake.url}/v1/disk", "allow_http": True}
    said = {
        "content_types": {name: {"storage_type": kind} for name, kind in kinds.items()},
        "companies": {"acme": {"storage_type": "minio", "minio": {**minio, "prefix": "of-acme"}}},
        "yandex_disk": drive,
        "minio": minio,
    }
    Path("storage_config.json").write_text(json.dumps(said))
    holdfast("config", "import", "storage_config.json", "-o", "holdfast.toml")
    assert s3.secret_key not in Path("holdfast.toml").read_text()
    assert fake.accounts.access not in Path("holdfast.toml").read_text()
    holdfast("apply", "--yes")
    found = run(places(load(), "portraits/p", "videos/v", "previews/y", "acme:portraits/a"))
    assert found == {"local": ["p"], "minio": ["v"], "minio_acme": ["a"], "yandex_disk": ["y"]}
    with pytest.raises(UnavailableError, match="google_drive"):
        run(places(load(), "stickers/x"))
    assert run(places(load())) == found  # it is nowhere


def test_a_single_server_of_an_older_service(s3: S3Server, tmp_path: Path) -> None:
    Path(".env").write_text(
        f"MINIO_ROOT_USER={s3.access_key}\nMINIO_ROOT_PASSWORD={s3.secret_key}\nMINIO_ENDPOINT={s3.endpoint}\n"
        f"MINIO_SECURE=false\nMINIO_BUCKET={s3.bucket}\nOBJECT_STORAGE_SIZE_THRESHOLD=2\n"
    )
    holdfast("config", "import", ".env", "-o", "holdfast.toml")
    Path("holdfast.toml").write_text(
        Path("holdfast.toml").read_text().replace("[stores.minio]", "[stores.minio]\nprefix = 'single'")
    )
    assert run(places(load(tenant="solo"), "one-bucket/large", make=True)) == {"minio": ["large"]}
    assert run(places(load(tenant="solo"), "one-more/s", make=True)) == {"minio": ["large"], "catalog": ["s"]}


def test_importing_asks_for_one_source_and_keeps_what_is_there(tmp_path: Path) -> None:
    assert "not both" in holdfast("config", "import", status=7)
    Path("a.env").write_text("PORT=8099\n")
    holdfast("config", "import", "a.env", "-o", "holdfast.toml")
    assert "is there already" in holdfast("config", "import", "a.env", "-o", "holdfast.toml", status=4)
    assert load().port == 8099
    with pytest.raises(ConfigError):
        load("a.env")


def test_config_show_names_every_source(tmp_path: Path) -> None:
    Path("secret").write_text(PLANTED)
    Path("secret").chmod(0o600)
    Path("holdfast.toml").write_text(
        'port = 1\n[stores.a]\ndriver = "s3"\nbucket = "b"\naccess_key = "k"\nsecret_key_file = "secret"\n'
        "[apply.buckets.unseen]\n"
    )
    shown = holdfast(
        *("config", "show", "--json", "--data", "elsewhere"),
        HOLDFAST_HOST="127.0.0.9",
        HOLDFAST_SECRET_FILE="secret",
        HOLDFAST_STORES="",
        RETENTION_DAYS="9",
        MAX_FILE_SIZE="5MB",
    )
    rows = {row["setting"]: (row["value"], row["source"]) for row in map(json.loads, shown.splitlines())}
    assert rows["port"] == (1, "holdfast.toml")
    assert rows["data"][1] == "flag"
    assert rows["host"] == ("127.0.0.9", "HOLDFAST_HOST")
    assert rows["secret"] == ("***", "HOLDFAST_SECRET_FILE")
    assert rows["default_retention_days"] == (9, "RETENTION_DAYS")
    assert rows["limits.max_object_size"] == (5 << 20, "MAX_FILE_SIZE")
    assert rows["stores.a.secret_key"] == ("***", "holdfast.toml")
    assert rows["workers"][1] == "default"
    assert rows["placement.stores"] == (["a"], "the only store")
    assert PLANTED not in shown
    assert "unseen" not in shown
    for name, (_, source) in rows.items():
        assert source, name
