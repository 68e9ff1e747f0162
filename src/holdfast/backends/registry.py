"""Which drivers there are: a name, its settings and how to open it. A driver is imported when it is first asked for.

Others add drivers of their own through the entry point group `holdfast.backends`; the entry loads a `Driver`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.core.notes import MemoryNotes, Notes

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

GROUP: Final = "holdfast.backends"


@dataclass(frozen=True, slots=True)
class Driver:
    """How one kind of storage is configured and opened: `open(store name, settings, environment=…)`.

    With `notes` it is opened with `notes=…` too: it has something to remember.
    """

    settings: type[BaseModel]
    open: Callable[..., Backend]
    notes: bool = False


def _memory() -> Driver:
    from holdfast.backends.memory import MemorySettings, open_memory

    return Driver(MemorySettings, open_memory)


def _local() -> Driver:
    from holdfast.backends.local import LocalSettings, open_local

    return Driver(LocalSettings, open_local)


def _s3() -> Driver:
    from holdfast.backends.object_store import S3Settings, open_store

    return Driver(S3Settings, open_store)


def _azure() -> Driver:
    from holdfast.backends.object_store.azure import AzureSettings, open_azure

    return Driver(AzureSettings, open_azure)


def _gcs() -> Driver:
    from holdfast.backends.object_store.gcs import GcsSettings, open_gcs

    return Driver(GcsSettings, open_gcs)


def _google_drive() -> Driver:
    from holdfast.backends.google_drive import GoogleDriveSettings, open_google_drive

    return Driver(GoogleDriveSettings, open_google_drive, notes=True)


def _naas() -> Driver:
    from holdfast.backends.naas import NaasSettings, open_naas

    return Driver(NaasSettings, open_naas)


def _yandex_disk() -> Driver:
    from holdfast.backends.yandex_disk import YandexDiskSettings, open_yandex_disk

    return Driver(YandexDiskSettings, open_yandex_disk, notes=True)


#: Those that come with Holdfast, by name.
BUILT_IN: Final[dict[str, Callable[[], Driver]]] = {
    "azure": _azure,
    "gcs": _gcs,
    "google_drive": _google_drive,
    "local": _local,
    "memory": _memory,
    "naas": _naas,
    "s3": _s3,
    "yandex_disk": _yandex_disk,
}


def drivers() -> tuple[str, ...]:
    """Return the names of all drivers that are installed, sorted."""
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}))


def driver(name: str) -> Driver:
    """Return the driver of that name; a built-in one wins over a foreign one.

    Raises:
        ConfigError: there is none, or it does not load; the message lists those that are there.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    for entry in entry_points(group=GROUP, name=name):
        try:
            found = entry.load()
        except Exception as error:
            raise ConfigError(
                f"the driver {name!r} does not load: {type(error).__name__}: {error}"
            ) from error
        if isinstance(found, Driver):
            return found
        raise ConfigError(f"the entry point {name!r} in {GROUP} is not a Driver")
    raise ConfigError(f"there is no driver {name!r}; use one of {', '.join(drivers())}")


def parse(name: str, values: Mapping[str, Any]) -> BaseModel:
    """Return the settings that `values` mean to the driver `name`.

    Raises:
        ConfigError: naming each setting that is wrong. Values are not repeated: one of them may be a secret.
    """
    try:
        return driver(name).settings.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"driver {name}: {_explain(error, driver(name).settings)}") from None


def open_backend(
    store: str, name: str, settings: BaseModel, *, environment: Environment, notes: Notes | None = None
) -> Backend:
    """Return the backend of the store `store`: driver `name` with `settings` from `parse`.

    Without `notes` a driver that has something to remember forgets it with the process.

    Raises:
        ConfigError: the settings belong to another driver, or what they name is not there.
    """
    found = driver(name)
    if not isinstance(settings, found.settings):
        raise ConfigError(
            f"store {store}: the driver {name} wants {found.settings.__name__}, not {type(settings).__name__}"
        )
    if found.notes:
        return found.open(store, settings, environment=environment, notes=notes or MemoryNotes())
    return found.open(store, settings, environment=environment)


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    problems = (
        f"setting {'.'.join(map(str, item['loc'])) or '(all)'!s}: {_problem(item, model)}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return "; ".join(problems)


def _problem(item: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is wrong with a setting, without its value."""
    name = str(item["loc"][0]) if item["loc"] else ""
    if item["type"] == "extra_forbidden":
        near = get_close_matches(name, list(model.model_fields), n=1, cutoff=0.6)
        return f"there is no such setting{f'; did you mean {near[0]}?' if near else ''}"
    field = model.model_fields.get(name)
    if item["type"] == "string_pattern_mismatch" and field is not None and field.description:
        return f"it is not written as it has to be; it is: {field.description}"
    return item["msg"].removeprefix("Value error, ")
