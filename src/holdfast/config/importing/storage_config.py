"""`storage_config.json`: which kind of content goes to which storage, and what companies say instead.

Each content type becomes a bucket of its name and a rule that sends the bucket to its store; what a company says for
itself becomes a rule that names the company as tenant, which is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from holdfast.config.importing import remote_storage, s3
from holdfast.config.importing.document import Imported
from holdfast.config.importing.harmless import harmless
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.names import check_bucket, check_tenant

_LOCAL: Final = "local"
_NOT_SLUG: Final = re.compile(r"[^a-z0-9_.-]+")
_TOP: Final = frozenset({"content_types", "companies", "minio", *remote_storage.PROVIDERS})


def imported(found: Mapping[str, Any], source: str, environ: Mapping[str, str] | None = None) -> Imported:
    """Return what the file means; `environ` may tune its drives.

    Raises:
        ConfigError: it names a storage that is not described, or that nobody knows.
    """
    return _Reading(found, source, environ or {}).all()


class _Reading:
    """One file being read."""

    def __init__(self, found: Mapping[str, Any], source: str, environ: Mapping[str, str]) -> None:
        self._found, self._environ = found, environ
        self._made = Imported(source)
        self._rules: list[dict[str, Any]] = []
        self._slugs: tuple[str, ...] = ()
        self._stores: dict[tuple[str, str], str] = {}  #: (storage type, company or "") → store

    def all(self) -> Imported:
        made = self._made
        made.note(
            "", "Contents of before are not in these stores: upload or copy them once, through the service."
        )
        made.put("stores.local.driver", "local")
        made.put(
            "stores.local.path",
            "holdfast-data/objects",
            "a folder of its own: not the one that holds the files of before",
        )
        made.put("stores.local.create", True)
        companies: dict[str, Mapping[str, Any]] = {}
        for slug, company in self._companies():
            if slug in companies:
                raise ConfigError(f"two companies would both be the tenant {slug}; rename one of them")
            companies[slug] = company
        self._slugs = tuple(companies)
        for slug, company in companies.items():
            self._company(slug, company)
        for name, said in _table(self._found.get("content_types"), "content_types").items():
            self._content_type(name, _table(said, f"content_types.{name}"))
        made.put(
            "placement.stores", [_LOCAL], "what no rule names; content types that nobody knows come here too"
        )
        if self._rules:
            made.values["placement"]["rules"] = self._rules
        self._unused()
        return made

    def _content_type(self, name: str, said: Mapping[str, Any]) -> None:
        bucket = _bucket(name)
        kind = str(said.get("storage_type") or _LOCAL)
        where = f"content_types.{name}"
        store = self._store(kind, self._found, where)
        self._rules.append({"name": bucket, "match": {"buckets": [bucket]}, "stores": [store], "inline": 0})
        self._describe("buckets", bucket, {"name": bucket})
        for slug in self._slugs:
            self._describe("buckets", f"{slug}_{bucket}", {"tenant": slug, "name": bucket})
        self._folder(where, said, kind)
        for other in sorted(said.keys() - {"storage_type", *remote_storage.PROVIDERS}):
            self._made.leave(f"{where}.{other}", "nothing here has that meaning")

    def _folder(self, where: str, said: Mapping[str, Any], kind: str) -> None:
        """Tell what became of the folders on the drives."""
        for provider in sorted(remote_storage.PROVIDERS & said.keys()):
            inner = _table(said[provider], f"{where}.{provider}")
            path = inner.get("base_path") or inner.get("folder_id")
            if kind == provider and inner.get("enabled") is False:
                self._made.note(
                    f"placement.rules.{_bucket(where.rpartition('.')[2])}",
                    f"{where}.{provider}.enabled is false, but storage_type says {provider}: the type counts",
                )
            if path:
                shown = path if harmless("base_path", path) else "(secret)"
                self._made.leave(
                    f"{where}.{provider}.base_path = {shown}",
                    "stores give blobs their own names; the bucket takes the place of the folder",
                )

    def _companies(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the companies: a table by slug, or a list of tables with `slug`."""
        said = self._found.get("companies") or {}
        if isinstance(said, list):
            for number, company in enumerate(said):
                table = _table(company, f"companies[{number}]")
                slug = table.get("slug") or table.get("id") or table.get("name")
                if not slug:
                    raise ConfigError(f"companies[{number}] has no slug")
                yield _tenant(str(slug)), table
            return
        for slug, company in _table(said, "companies").items():
            yield _tenant(slug), _table(company, f"companies.{slug}")

    def _company(self, slug: str, company: Mapping[str, Any]) -> None:
        made, where = self._made, f"companies.{slug}"
        self._describe("tenants", slug, {})
        own = {**self._found, **{key: value for key, value in company.items() if key != "content_types"}}
        for name, said in _table(company.get("content_types") or {}, f"{where}.content_types").items():
            inner = said if isinstance(said, Mapping) else {"storage_type": said}
            store = self._store(
                str(inner.get("storage_type") or _LOCAL), own, f"{where}.{name}", slug, company
            )
            self._rule(f"{slug} {_bucket(name)}", slug, store, [_bucket(name)])
        if kind := company.get("storage_type"):
            store = self._store(str(kind), own, where, slug, company)
            self._rule(slug, slug, store, [])
        known = {"slug", "id", "name", "content_types", "storage_type", "minio", *remote_storage.PROVIDERS}
        for other in sorted(company.keys() - known):
            made.leave(f"{where}.{other}", "nothing here has that meaning")
        for kind in sorted({"minio", *remote_storage.PROVIDERS} & company.keys()):
            if (kind, slug) not in self._stores:
                made.leave(f"{where}.{kind}", "described, and used by nothing of this company")

    def _describe(self, kind: str, name: str, members: dict[str, Any]) -> None:
        """Describe a tenant or a bucket for `apply`, under a name that no other one has."""
        held = self._made.values.setdefault("apply", {}).setdefault(kind, {})
        while name in held:
            name += "_"
        held[name] = {key: value for key, value in members.items() if (key, value) != ("name", name)}

    def _rule(self, name: str, tenant: str, store: str, buckets: list[str]) -> None:
        match: dict[str, Any] = {"tenants": [tenant]}
        if buckets:
            match["buckets"] = buckets
        self._rules.append({"name": name, "match": match, "stores": [store], "inline": 0})

    def _store(
        self,
        kind: str,
        found: Mapping[str, Any],
        where: str,
        slug: str = "",
        company: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the store of a storage type, and make it when it is not there yet."""
        if kind == _LOCAL:
            return _LOCAL
        own = company is not None and kind in company
        if known := self._stores.get((kind, slug if own else "")):
            return known
        name = f"{kind}_{slug.replace('.', '_')}" if own else kind
        while name in self._made.values["stores"]:
            name += "_2"
        self._stores[kind, slug if own else ""] = name
        described = _table(found.get(kind) or {}, kind)
        if kind == "minio":
            s3.store(self._made, name, described, f"{where}.{kind}" if own else kind)
        elif kind in remote_storage.PROVIDERS:
            remote_storage.stand_in(self._made, name, kind, described, self._environ)
        else:
            raise ConfigError(
                f"{where}.storage_type is {kind!r:.60}; local, minio, yandex_disk and google_drive are known. It is"
                " not guessed, so that nothing is kept where nobody looks for it"
            )
        return name

    def _unused(self) -> None:
        """Tell of everything that was described and that nothing uses."""
        for kind in sorted({"minio", *remote_storage.PROVIDERS} & self._found.keys()):
            described = _table(self._found[kind], kind)
            if kind in self._made.values["stores"]:
                continue
            if kind != "minio" and remote_storage.described(described):
                if described.get("enabled") and remote_storage.opened(
                    self._made, kind, kind, described, self._environ
                ):
                    self._made.note(f"stores.{kind}", "described, and used by no content type")
                else:
                    remote_storage.comment(self._made, kind, described)
            elif kind == "minio" and described.get("endpoint") and described.get("bucket"):
                s3.store(self._made, kind, described, kind)
                self._made.note("stores.minio", "described, and used by no content type")
            else:
                self._made.leave(kind, "described without what is needed, and used by no content type")
        remote_storage.backups(self._made, self._found.get("backup_settings") or {})
        for other in sorted(self._found.keys() - _TOP - {"backup_settings"}):
            self._made.leave(other, "nothing here has that meaning")


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a JSON object")
    return value


def _bucket(name: str) -> str:
    try:
        return check_bucket(_NOT_SLUG.sub("-", name.strip().lower()))
    except InvalidRequestError as error:
        raise ConfigError(f"content_types.{name:.80}: {error.message}") from None


def _tenant(slug: str) -> str:
    try:
        return check_tenant(_NOT_SLUG.sub("-", slug.strip().lower()))
    except InvalidRequestError as error:
        raise ConfigError(f"companies.{slug:.80}: {error.message}") from None
