"""Older configurations turned into a holdfast.toml: what is in it, what is said of the rest, and where secrets go."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backends import registry
from holdfast.config import legacy, load
from holdfast.config.declared import read_declared
from holdfast.config.importing import Imported, import_environment, import_file
from holdfast.config.importing.writing import write
from holdfast.core.errors import AlreadyExistsError, ConfigError
from holdfast.engine.wanting import wanted_of
from holdfast.policy.differences import Kind
from tests.unit.test_near_far import TWO

pytestmark = pytest.mark.unit

MINIO = {
    "enabled": True,
    "endpoint": "localhost:9000",
    "access_key": "k",
    "secret_key": "swordfish",
    "bucket": "media",
}
CONFIG: dict[str, Any] = {
    "content_types": {
        "portraits": {
            "storage_type": "local",
            "yandex_disk": {"enabled": False, "base_path": "vertex-ar/portraits"},
        },
        "videos": {
            "storage_type": "minio",
            "yandex_disk": {"enabled": False, "base_path": "vertex-ar/videos"},
        },
        "nft_markers": {"storage_type": "yandex_disk"},
    },
    "backup_settings": {"auto_split_backups": True, "max_backup_size_mb": 500, "compression": "gz"},
    "yandex_disk": {"oauth_token": "marlin", "enabled": False},
    "minio": MINIO,
}


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name in legacy.VARIABLES or name.startswith(("MINIO_", "HOLDFAST_", "AWS_")):
            monkeypatch.delenv(name)


def config(**changes: Any) -> Imported:
    Path("storage_config.json").write_text(json.dumps(CONFIG | changes))
    return import_file(Path("storage_config.json"), {})


def test_content_types_become_buckets_and_rules() -> None:
    made = config()
    write(made, Path("holdfast.toml"))
    settings = load()
    assert [
        (rule.name, list(rule.match.buckets), list(rule.stores)) for rule in settings.placement.rules
    ] == [
        ("portraits", ["portraits"], ["local"]),
        ("videos", ["videos"], ["minio"]),
        ("nft_markers", ["nft_markers"], ["yandex_disk"]),
    ]
    wanted = wanted_of(read_declared(Path("holdfast.toml")), "default")
    assert wanted.named(Kind.BUCKET) == ["default/portraits", "default/videos", "default/nft_markers"]
    minio = settings.all_stores["minio"].driver_settings
    assert (minio["endpoint"], minio["bucket"], minio["secret_key"]) == (
        "http://localhost:9000",
        "media",
        "swordfish",
    )
    disk = settings.all_stores["yandex_disk"]
    registry.parse(disk.driver, disk.driver_settings)
    assert (disk.driver, disk.state, disk.driver_settings["token"]) == ("yandex_disk", "active", "marlin")
    assert disk.driver_settings["root"] == "disk:/holdfast/yandex_disk"


def test_a_company_goes_before_its_content_types() -> None:
    companies = {
        "acme": {
            "storage_type": "minio",
            "minio": MINIO | {"bucket": "of-acme"},
            "content_types": {"videos": "local"},
            "colour": "red",
        }
    }
    made = config(companies=companies)
    assert made.values["placement"]["rules"][:2] == [
        {
            "name": "acme videos",
            "match": {"tenants": ["acme"], "buckets": ["videos"]},
            "stores": ["local"],
            "inline": 0,
        },
        {"name": "acme", "match": {"tenants": ["acme"]}, "stores": ["minio_acme"], "inline": 0},
    ]
    assert made.values["stores"]["minio_acme"]["bucket"] == "of-acme"
    assert made.values["stores"]["minio"]["bucket"] == "media"
    assert ("companies.acme.colour", "nothing here has that meaning") in made.left
    write(made, Path("holdfast.toml"))
    load()
    assert "acme/videos" in wanted_of(read_declared(Path("holdfast.toml")), "default").named(Kind.BUCKET)


def test_every_line_is_carried_over_or_commented() -> None:
    text = config().text()
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for told in (
        "content_types.portraits.yandex_disk.base_path = vertex-ar/portraits: ",
        "a folder of its own: not the one that holds the files of before",
    ):
        assert told in comments, told
    backup = tomllib.loads(text)["backup"]
    assert backup == {"auto_split": True, "max_size": "500MB", "compression": "gz"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"content_types": {"videos": {"storage_type": "floppy"}}}, "storage_type is 'floppy'"),
        ({"minio": MINIO | {"secret_key": ""}}, "has no secret_key"),
        ({"minio": MINIO | {"endpoint": "ftp://x"}}, "endpoint must be host:port"),
        ({"content_types": {"V": {"storage_type": "local"}}}, "content_types.V"),
        ({"companies": [{"storage_type": "local"}]}, "companies[0] has no slug"),
        ({"content_types": {"videos": "local"}}, "content_types.videos must be a JSON object"),
    ],
)
def test_nothing_is_guessed(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(**changes)
    assert told in str(error.value)
    assert "swordfish" not in str(error.value)


def test_a_missing_token_does_not_make_it_local() -> None:
    made = config(yandex_disk={"enabled": False})
    rules = {rule["name"]: rule["stores"] for rule in made.values["placement"]["rules"]}
    assert rules["nft_markers"] == ["yandex_disk"]
    assert made.values["stores"]["yandex_disk"]["state"] == "down"


def test_entries_without_what_opens_them_are_comments() -> None:
    found = {
        "yandex_disk": {"enabled": False, "oauth_token": "YOUR_YANDEX_DISK_OAUTH_TOKEN"},
        "google_drive": {
            "enabled": True,
            "credentials": {"password": "marlin", "folder_id": "OPTIONAL_FOLDER"},
        },
    }
    Path("remote_storage.json").write_text(json.dumps(found))
    made = import_file(Path("remote_storage.json"), {})
    write(made, Path("holdfast.toml"))
    text = Path("holdfast.toml").read_text()
    assert tomllib.loads(text) == {}
    assert '#   driver = "google_drive"' in text
    assert "google_drive.enabled = true: nothing is placed there" in text
    assert "Google Drive lacks credentials" in text
    assert Path("secrets/stores_google_drive_password").read_text() == "marlin\n"
    assert "marlin" not in text
    assert load().placement_stores == ("local",)


@pytest.mark.parametrize(
    ("credentials", "secrets", "warned"),
    [
        ({"access_token": "marlin-1"}, {"token": "marlin-1"}, True),
        (
            {
                "access_token": "marlin-1",
                "refresh_token": "marlin-2",
                "client_id": "c",
                "client_secret": "marlin-3",
            },
            {"refresh_token": "marlin-2", "client_secret": "marlin-3", "client_id": "c"},
            False,
        ),
        (
            {"service_account": {"client_email": "a@b", "private_key": "marlin-4"}},
            {"service_account": "marlin-4"},
            False,
        ),
        (
            {"type": "service_account", "client_email": "a@b", "private_key": "marlin-5"},
            {"service_account": "marlin-5"},
            False,
        ),
    ],
)
def test_a_google_drive_with_credentials_is_a_store(
    credentials: dict[str, Any], secrets: dict[str, str], warned: bool
) -> None:
    found = {"google_drive": {"enabled": True, "credentials": {"folder_id": "folder-7", **credentials}}}
    made = remote(found)
    write(made, Path("holdfast.toml"))
    text = Path("holdfast.toml").read_text()
    assert "marlin" not in text
    assert ("ends about an hour after it was made" in " ".join(text.replace("#", "").split())) == warned
    store = load().all_stores["google_drive"]
    assert (store.driver, store.driver_settings["folder_id"]) == ("google_drive", "folder-7")
    for name, value in secrets.items():
        assert value in store.driver_settings[name]
    if not warned:
        registry.parse("google_drive", store.driver_settings)
    assert load().placement_stores == ("local",)
    placed = config(
        content_types={"videos": {"storage_type": "google_drive"}}, google_drive=found["google_drive"]
    )
    assert placed.values["stores"]["google_drive"]["driver"] == "google_drive"
    assert "state" not in placed.values["stores"]["google_drive"]


def test_a_google_drive_that_is_off_or_lacks_credentials_holds_nothing() -> None:
    off = {"enabled": False, "credentials": {"access_token": "marlin"}}
    assert "stores" not in remote({"google_drive": off}).values
    made = config(content_types={"videos": {"storage_type": "google_drive"}}, google_drive={"folder_id": "x"})
    assert made.values["stores"]["google_drive"]["state"] == "down"


def test_the_variables_of_the_older_service_tune_a_yandex_disk() -> None:
    environ = {
        "YANDEX_REQUEST_TIMEOUT": "30",
        "YANDEX_CHUNK_SIZE_MB": "10",
        "YANDEX_UPLOAD_CONCURRENCY": "3",
        "YANDEX_DIRECTORY_CACHE_TTL": "0.5",
        "YANDEX_DIRECTORY_CACHE_SIZE": "1000",
        "YANDEX_SESSION_POOL_CONNECTIONS": "10",
        "YANDEX_SESSION_POOL_MAXSIZE": "20",
    }
    wanted = {
        "request_timeout": 30,
        "chunk_size": 10 << 20,
        "upload_concurrency": 3,
        "directory_cache_ttl": 0.5,
        "directory_cache_size": 1000,
        "connections": 20,
    }
    config()
    made = import_file(Path("storage_config.json"), environ)
    store = made.values["stores"]["yandex_disk"]
    assert {name: store[name] for name in wanted} == wanted
    given = {name: value for name, value in store.items() if name not in ("driver", "labels")}
    registry.parse("yandex_disk", {**given, "token": "marlin"})
    with pytest.raises(ConfigError, match="YANDEX_CHUNK_SIZE_MB must be a number"):
        import_file(Path("storage_config.json"), {"YANDEX_CHUNK_SIZE_MB": "many"})
    left = dict(import_environment({**environ, "PORT": "8099"}).left)
    assert left.keys() == environ.keys()
    assert left["YANDEX_CHUNK_SIZE_MB"].startswith("set chunk_size = 10485760 of a store on Yandex.Disk")
    assert left["YANDEX_SESSION_POOL_CONNECTIONS"] == "there are as many pools as hosts"


def test_a_yandex_disk_may_be_renewed_and_stays_out_of_the_way() -> None:
    credentials = {
        "client_id": "c",
        "client_secret": "marlin-1",
        "refresh_token": "marlin-2",
        "login": "marlin-3",
    }
    made = remote({"yandex_disk": {"enabled": True, "credentials": credentials}})
    write(made, Path("holdfast.toml"))
    assert "marlin" not in Path("holdfast.toml").read_text()
    store = load().all_stores["yandex_disk"]
    registry.parse(store.driver, store.driver_settings)
    assert store.driver_settings["refresh_token"] == "marlin-2"
    assert Path("secrets/stores_yandex_disk_login").read_text() == "marlin-3\n"
    assert load().placement_stores == ("local",)
    with pytest.raises(ConfigError, match="two tokens that differ") as error:
        remote({"yandex_disk": {"enabled": True, "oauth_token": "marlin-1", "access_token": "marlin-2"}})
    assert "marlin" not in str(error.value)


def test_secrets_go_into_files_of_their_owner() -> None:
    written = write(config(), Path("holdfast.toml"))
    assert {path.name for path in written} == {
        "holdfast.toml",
        "stores_minio_secret_key",
        "stores_yandex_disk_token",
    }
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert "swordfish" not in Path("holdfast.toml").read_text()
    with pytest.raises(AlreadyExistsError):
        write(config(), Path("holdfast.toml"))
    write(config(), Path("holdfast.toml"), replace=True)
    assert Path("secrets/stores_minio_secret_key").read_text() == "swordfish\n"


def test_secrets_stay_variables_where_no_file_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    text = config().text()
    assert "swordfish" not in text
    assert "set the variable HOLDFAST_STORES__MINIO__SECRET_KEY" in text
    Path("holdfast.toml").write_text(text)
    monkeypatch.setenv("HOLDFAST_STORES__MINIO__SECRET_KEY", "swordfish")
    assert load().all_stores["minio"].driver_settings["secret_key"] == "swordfish"
    assert 'secret_key = "swordfish"' in config().text(with_secrets=True)
    assert "swordfish" not in repr(config())


def test_the_file_means_what_the_variables_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    given = TWO | {"PORT": "8099", "MAX_FILE_SIZE": "100MB", "MONGODB_URL": "mongodb://x"}
    with monkeypatch.context() as patched:
        for name, value in given.items():
            patched.setenv(name, value)
        before = load()
        made = import_environment(os.environ)
    write(made, Path("holdfast.toml"))
    assert load().model_dump() == before.model_dump()
    assert dict(made.left) == {"MONGODB_URL": "there is no second database"}


def test_a_single_minio_with_a_threshold_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "# MinIO\nMINIO_ROOT_USER=ops\nMINIO_ROOT_PASSWORD='sword fish'\nMINIO_ENDPOINT=http://minio:9000\n"
        'MINIO_SECURE=false\nexport MINIO_REGION="us-${PART}-1" \nOBJECT_STORAGE_ENABLED=true  # yes\n'
        "OBJECT_STORAGE_SIZE_THRESHOLD=64KB\nOBJECT_STORAGE_BUCKET_PREFIX=opsconductor\nPATH_OF_OTHERS=1\n"
    )
    made = import_file(Path(".env"), {"PART": "east"})
    write(made, Path("holdfast.toml"))
    settings = load()
    store = settings.all_stores["minio"].driver_settings
    assert (store["region"], store["access_key"], store["secret_key"]) == ("us-east-1", "ops", "sword fish")
    assert settings.placement.inline == 64 << 10
    assert made.left == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.env", "MINIO_ENDPOINT", "line 1 is no NAME=value"),
        ("a.env", "PORT=${NOWHERE}", "names the variable NOWHERE, which is not set"),
        ("a.env", "COLOUR=red", "sets none of the variables that are known"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", "[]", "must hold a JSON object"),
        ("a.json", '{"colour": 1}', "is no configuration that can be imported"),
    ],
)
def test_what_is_no_configuration(name: str, text: str, told: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(ConfigError) as error:
        import_file(Path(name), {})
    assert told in str(error.value)


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.dictionaries(
        _texts.filter(bool),
        st.one_of(_texts, st.booleans(), st.integers(-(2**40), 2**40), st.lists(_texts, max_size=3)),
        max_size=4,
    ),
    _texts,
)
def test_any_text_is_written_so_that_it_is_read_again(values: dict[str, Any], note: str) -> None:
    made = Imported("somewhere", {"stores": {"a b": values}, "top": 1})
    made.note("stores.a b", note)
    made.leave(note, note)
    assert tomllib.loads(made.text()) == {"stores": {"a b": values}, "top": 1}


def remote(found: dict[str, Any]) -> Imported:
    Path("remote_storage.json").write_text(json.dumps(found))
    return import_file(Path("remote_storage.json"), {})


def test_what_is_not_known_to_be_harmless_is_never_shown() -> None:
    drive = {
        "private_key": "marlin-1",
        "api_key": "marlin-2",
        "whatever": ["marlin-3", {"deep": "marlin-4"}],
        "../../up": "marlin-5",
        "pin": 6655321,
        "base_path": "https://me:marlin-6@host/x",
        "folder_id": "folder-7",
        "credentials": {"client_secret": "marlin-8"},
    }
    for made in (remote({"google_drive": drive}), config(google_drive=drive)):
        for text in (made.text(), made.text(with_secrets=True), repr(made)):
            assert "marlin-" not in text
            assert "6655321" not in text
        assert 'folder_id = "folder-7"' in made.text()
        write(made, Path("holdfast.toml"), replace=True)
        assert "marlin-" not in Path("holdfast.toml").read_text()
        kept = {path.name: path.read_text().strip() for path in Path("secrets").iterdir()}
        assert kept["stores_google_drive_private_key"] == "marlin-1"
        assert kept["stores_google_drive_pin"] == "6655321"
        assert all(f"marlin-{number}" in str(kept) for number in (1, 2, 3, 4, 5, 6, 8))


def test_settings_of_backups_are_carried_over_and_the_rest_stays_as_comments() -> None:
    given = {"compression": "gz", "chunk_size_mb": 100, "keep": 7, "target": {"password": "marlin"}}
    for made in (remote({"yandex_disk": {}, "backup_settings": given}), config(backup_settings=given)):
        text = made.text()
        assert made.values["backup"] == {"compression": "gz", "chunk_size": "100MB"}
        assert "#   backup_settings.keep = 7: " in text
        assert "backup_settings.target.password (secret" in text
        assert "marlin" not in text
        write(made, Path("holdfast.toml"), replace=True)
        assert load().backup.chunk_size == 100 << 20
        assert Path("secrets/backup_settings_target_password").read_text() == "marlin\n"


def test_two_tokens_never_share_a_file() -> None:
    made = remote(
        {"yandex_disk": {"oauth_token": "one", "access_token": "two", "credentials": {"token": "3"}}}
    )
    write(made, Path("holdfast.toml"))
    kept = {path.name: path.read_text() for path in Path("secrets").iterdir()}
    assert sorted(kept.values()) == ["3\n", "one\n", "two\n"]
    text = Path("holdfast.toml").read_text()
    assert all(f'_file = "secrets/{name}"' in text for name in kept)


def test_companies_of_alike_names_stay_apart() -> None:
    companies = {
        slug: {"storage_type": "yandex_disk", "yandex_disk": {"oauth_token": f"of {slug}"}}
        for slug in ("a.b", "a_b")
    }
    made = config(companies=companies)
    write(made, Path("holdfast.toml"))
    kept = {path.read_text() for path in Path("secrets").iterdir()}
    assert {"of a.b\n", "of a_b\n"} <= kept
    stores = [rule["stores"][0] for rule in made.values["placement"]["rules"][:2]]
    assert len(set(stores)) == 2
    wanted = wanted_of(read_declared(Path("holdfast.toml")), "default")
    assert wanted.named(Kind.TENANT) == ["a.b", "a_b"]
    with pytest.raises(ConfigError, match="two companies would both be the tenant acme"):
        config(companies={"acme": {}, "ACME": {}})


@pytest.mark.parametrize(
    "url", ["http://me:marlin@host:9000", "me:marlin@host:9000", "http://host/?key=marlin"]
)
def test_an_address_with_a_password_is_refused(url: str) -> None:
    for changes in ({"endpoint": url}, {"public_url": url}):
        with pytest.raises(ConfigError) as error:
            config(minio=MINIO | changes)
        assert "take them out" in str(error.value)
        assert "marlin" not in str(error.value)
    with pytest.raises(ConfigError, match="INTERNAL_STORAGE_ENDPOINT holds a user") as told:
        import_environment(TWO | {"INTERNAL_STORAGE_ENDPOINT": "http://me:marlin@host:9000"})
    assert "marlin" not in str(told.value)
