"""Writes docs/reference from the code, so that it cannot lie; with `--check` it fails when a page is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from holdfast.backends import registry
from holdfast.config import Settings, StoreSettings
from holdfast.core.errors import KINDS

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by scripts/docs. Change the code, not this page. -->\n\n"


def pages() -> Iterator[tuple[str, str]]:
    """Yield (file name, content) of every generated page."""
    yield "settings.md", settings_page()
    yield "stores.md", stores_page()
    yield "offers.md", offers_page()
    yield "dialects.md", dialects_page()
    yield "errors.md", errors_page()
    yield "promises.md", promises_page()
    yield "command-line.md", command_line_page()
    yield "openapi.json", openapi_page()
    yield "compatibility.md", compatibility_page()


def settings_page() -> str:
    """Return the page of all settings."""
    text = (
        "# Settings\n\nFrom `holdfast.toml`, then the variables of older services (see [compatibility](compatibility.md)), then\n"
        "`HOLDFAST_*` variables (nested ones with `__`, as in `HOLDFAST_LIMITS__MAX_OBJECT_SIZE=1GB`), then flags; later ones\n"
        "win. An unknown `HOLDFAST_*` variable is an error. Sizes take `KB`, `MiB`, … (powers of 1,024), times take `s`, `m`,\n"
        "`h`, `d`.\n\nA secret can lie in a file of its own: `secret_file`, `catalog_file`, and in a store `secret_key_file` and the\n"
        "like, or as variables `HOLDFAST_SECRET_FILE`, `HOLDFAST_CATALOG_FILE`, `HOLDFAST_STORES__NAME__SECRET_KEY_FILE`. Nobody\n"
        "but its owner may be able to read it, unless systemd (`$CREDENTIALS_DIRECTORY`) or a container engine\n"
        "(`/run/secrets`) hands it over. `holdfast config show` tells where each setting came from.\n\n"
    )
    sections = {
        name: model for name, field in Settings.model_fields.items() if (model := _model(field.annotation))
    }
    text += table(Settings, only=set(Settings.model_fields) - set(sections) - {"stores"})
    for name, model in sections.items():
        named = {
            key: found for key, field in model.model_fields.items() if (found := _named(field.annotation))
        }
        if plain := set(model.model_fields) - set(named):
            text += f"\n## [{name}]\n\n" + table(model, only=plain)
        for key, found in named.items():
            text += f"\n## [{name}.{key}.NAME]\n\n" + table(found)
    text += "\n## [stores.NAME]\n\n" + table(StoreSettings)
    return text + "\nWhat else a store takes depends on its driver: see [stores](stores.md).\n"


def _model(annotation: object) -> type[BaseModel] | None:
    """Return the model that a setting is a table of, None for any other setting."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _named(annotation: object) -> type[BaseModel] | None:
    """Return the model of a setting that is a table of tables by name."""
    arguments = get_args(annotation)
    return _model(arguments[1]) if get_origin(annotation) is dict else None


def stores_page() -> str:
    """Return the page of the drivers' settings."""
    text = "# Stores\n\nSettings of each driver, under `[stores.NAME]` beside those of every store.\n"
    for name in registry.BUILT_IN:
        model = registry.driver(name).settings
        text += f'\n## driver = "{name}"\n\n{first_line(model)}\n\n' + (
            table(model) if model.model_fields else "No settings.\n"
        )
    return text


def offers_page() -> str:
    """Return the page of what backends offer."""
    from docs import offers

    return offers.page()


def dialects_page() -> str:
    """Return the table of S3 dialects."""
    from holdfast.backends.object_store.dialects import DIALECTS

    text = (
        "# Dialects of S3\n\nWhat the driver `s3` takes each server to be able to do, until `[stores.NAME]` says otherwise. How to set one up, and what\n"
        "is not certain: [the guide](../guides/s3.md).\n\n"
        "| `dialect` | Server | Region | Checksums | Conditional writes | Batch delete | Ends keys | Listing sorted | Largest object | Largest part | Equal parts | Parts copied |"
        " Encryption | Classes | Metadata | Tags | Versions | POST forms | Known from |\n|"
        + "---|" * 19
        + "\n"
    )
    for row in DIALECTS.values():
        conditional = "yes" if row.conditional_writes else "small bodies" if row.conditional_put else ""
        cells = (
            *(
                f"`{row.name}`",
                row.title,
                f"`{row.region}`",
                "CRC64NVME" if row.checksum == "auto" else "none",
            ),
            *(conditional, yes(row.batch_delete), yes(row.folders), yes(row.sorted_listing)),
            *(sized(row.max_object_size), sized(row.max_part), yes(row.equal_parts), yes(row.copy_parts)),
            *(
                ", ".join(sorted(row.sse)),
                ", ".join(sorted(row.storage_classes)) or "any",
                f"{row.metadata_bytes:,} bytes",
            ),
            *(yes(row.tagging), yes(row.versioning), yes(row.post_forms), row.seen),
        )
        text += f"| {' | '.join(cells)} |\n"
    return text


def yes(value: bool) -> str:
    """Return a flag as tables show it."""
    return "yes" if value else ""


def sized(value: int) -> str:
    """Return a number of bytes in the largest unit that leaves it readable."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:,}"


def errors_page() -> str:
    """Return the table of error kinds."""
    from holdfast.api.errors import STATUS
    from holdfast.cli.exit import ENDINGS

    text = "# Errors\n\nOne table for every door.\n\n| Code | HTTP | Exit | Retry helps | Meaning |\n|---|---|---|---|---|\n"
    for kind in KINDS:
        retry = "yes" if kind.retryable else ""
        text += (
            f"| `{kind.code}` | {STATUS[kind]} | {ENDINGS[kind].status} | {retry} | {first_line(kind)} |\n"
        )
    return text


def promises_page() -> str:
    """Return the list of promises of the conformance suite."""
    from holdfast.testing.checks import CHECKS

    text = (
        f"# Promises\n\nThe {len(CHECKS)} checks of `holdfast.testing.checks`. Every backend and every layer keeps those it "
        "offers;\n`holdfast store check NAME` runs them on your store.\n\n| Promise | Needs |\n|---|---|\n"
    )
    for check in CHECKS.values():
        needs = ", ".join(flag.name or "" for flag in check.needs)
        text += f"| {' '.join(check.promise.split())} | {needs} |\n"
    return text


def command_line_page() -> str:
    """Return the reference of the command line."""
    from holdfast.cli.reference import reference

    return reference()


def openapi_page() -> str:
    """Return the OpenAPI document."""
    from holdfast.api.openapi import reference

    return reference()


def compatibility_page() -> str:
    """Return the page of the contracts that are kept."""
    from docs import contracts

    return contracts.page()


def table(model: type[BaseModel], only: set[str] | None = None) -> str:
    """Return a table of a model's settings."""
    text = "| Setting | Default | Meaning |\n|---|---|---|\n"
    for name, field in model.model_fields.items():
        if only is not None and name not in only:
            continue
        text += f"| `{name}` | {shown(field.get_default(call_default_factory=True))} | {field.description or ''} |\n"  # type: ignore[call-arg]
    return text


def shown(value: object) -> str:
    """Return a default as people write it."""
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "" or isinstance(value, SecretStr):
        return ""
    if isinstance(value, frozenset | tuple | list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def first_line(thing: type) -> str:
    """Return the first line of a docstring."""
    return (thing.__doc__ or "").strip().split("\n")[0]


def main() -> int:
    """Write the pages, or compare them."""
    REFERENCE.mkdir(exist_ok=True)
    stale = []
    for name, content in pages():
        text = content if name.endswith(".json") else NOTE + content
        path = REFERENCE / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {', '.join(stale)}; run scripts/docs and commit the result\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
