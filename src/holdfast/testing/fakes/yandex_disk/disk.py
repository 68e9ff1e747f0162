"""The Disk itself: a tree of folders and files, a trash, links and operations. No I/O but the bytes of large files."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from holdfast.core.clock import Clock
from holdfast.testing.fakes.yandex_disk.things import (
    Content,
    DownloadLink,
    Node,
    Operation,
    Refused,
    Requested,
    Rules,
    Sink,
    UploadLink,
)

NO_PARENT: Final = "DiskPathDoesntExistsError"
A_FOLDER: Final = "DiskPathPointsToExistentDirectoryError"
A_FILE: Final = "DiskResourceAlreadyExistsError"
_PIECE: Final = 256 << 10
_SECOND: Final = 1_000_000
_SLOW: Final = {
    **dict.fromkeys((".db", ".dat"), "data"),
    **dict.fromkeys((".zip", ".gz", ".rar", ".7z", ".tar"), "compressed"),
    **dict.fromkeys((".mp4", ".avi", ".mkv", ".mov"), "video"),
}


class Disk:
    """All that one account has."""

    def __init__(self, clock: Clock, rules: Rules, folder: Path) -> None:
        self.clock, self.rules, self.folder = clock, rules, folder
        self.root = self._node("disk")
        self.trash: dict[str, Node] = {}
        self.operations: dict[str, Operation] = {}
        self.uploads: dict[str, UploadLink] = {}
        self.downloads: dict[str, DownloadLink] = {}
        self.requested: list[Requested] = []
        self.revision = 0

    # -- where things are

    def split(self, path: str) -> list[str]:
        """Return the segments of a path; a name with a colon needs `disk:` or `app:` before it."""
        start, mark, rest = path.partition(":")
        segments: list[str] = []
        if mark and start in ("disk", "app"):
            segments = self._app_folder() if start == "app" else []
        elif mark:
            raise Refused(400, "FieldValidationError", "a name with a colon needs a scheme")
        else:
            rest = path
        segments = [*segments, *(part for part in rest.split("/") if part)]
        if any(len(part) > 255 for part in segments) or len(path) > 32_760:
            raise Refused(400, "FieldValidationError", "the path is too long")
        return segments

    def _app_folder(self) -> list[str]:
        """Return the way to the application's folder, which is there when it is first needed."""
        here, parts = self.root, self.rules.app_folder.split("/")
        for part in parts:
            here = here.children.setdefault(part, self._node(part))
        return parts

    def find(self, path: str) -> Node | None:
        """Return what is at a path."""
        here: Node | None = self.root
        for part in self.split(path):
            here = here.children.get(part) if here is not None and here.is_folder else None
        return here

    def get(self, path: str) -> Node:
        """Return what is at a path, or refuse; what shows late does not show."""
        node = self.find(path)
        if node is None:
            raise Refused(404, "DiskNotFoundError", "Resource not found.")
        if node.hidden:
            node.hidden -= 1
            code = "DiskNotFoundError" if node.hidden_as == 404 else "InternalServerError"
            raise Refused(node.hidden_as, code)
        return node

    def place(self, path: str) -> tuple[Node, str]:
        """Return the folder that a path is in, and its name there."""
        segments = self.split(path)
        if not segments:
            raise Refused(409, A_FOLDER)
        here = self.root
        for part in segments[:-1]:
            below = here.children.get(part)
            if below is None or not below.is_folder:
                raise Refused(409, NO_PARENT, "Specified path does not exist.")
            here = below
        return here, segments[-1]

    def full(self, path: str) -> str:
        """Return a path as answers spell it."""
        return "disk:/" + "/".join(self.split(path))

    # -- what can be done

    @property
    def used(self) -> int:
        """Bytes of all files, those in the trash too."""
        return self.root.size + sum(node.size for node in self.trash.values())

    def make_folder(self, path: str) -> None:
        """Make one folder."""
        above, name = self.place(path)
        there = above.children.get(name)
        if there is not None:
            raise Refused(409, A_FOLDER if there.is_folder else A_FILE)
        above.children[name] = self._node(name)

    def ask_upload(self, path: str, *, overwrite: bool) -> tuple[str, UploadLink]:
        """Return a new link, whose speed is decided by the name."""
        above, name = self.place(path)
        there = above.children.get(name)
        if there is not None and there.is_folder:
            raise Refused(409, A_FOLDER)
        if there is not None and not overwrite:
            raise Refused(409, A_FILE)
        suffix = Path(name.lower()).suffix
        self.requested.append(Requested(self.full(path), _SLOW.get(suffix, "")))
        operation = self.begin(None)
        link = UploadLink(path, overwrite, self._ends(), operation)
        token = secrets.token_urlsafe(24)
        self.uploads[token] = link
        return token, link

    def land(self, link: UploadLink, content: Content) -> Node:
        """Show what was uploaded."""
        try:
            above, name = self.place(link.path)
            there = above.children.get(name)
            if there is not None and there.is_folder:
                raise Refused(409, A_FOLDER)
            if there is not None and not link.overwrite:
                raise Refused(409, A_FILE)
        except Refused:
            content.drop()
            raise
        if there is not None and there.content is not None:
            there.content.drop()
        node = self._node(name)
        node.content = content
        if there is not None:
            node.id, node.created = there.id, there.created
        above.children[name] = node
        if self.rules.allowance is not None:
            self.rules.allowance -= content.size
        return node

    def check_room(self, size: int) -> None:
        """Refuse a file of `size` bytes that the account does not take."""
        if size > self.rules.max_file_size:
            raise Refused(413, "DiskFileSizeLimitExceededError")
        if self.rules.allowance is not None and size > self.rules.allowance:
            raise Refused(423, "DiskUploadTrafficLimitExceeded")
        if size > self.rules.total_space - self.used:
            raise Refused(507, "DiskNotEnoughFreeSpaceError")

    def ask_download(self, path: str) -> str:
        """Return the token of a link to what a file has now."""
        node = self.get(path)
        if node.content is None:
            raise Refused(400, "FieldValidationError", "folders are not downloaded here")
        token = secrets.token_urlsafe(24)
        self.downloads[token] = DownloadLink(node.content, node.name, self._ends())
        return token

    def remove(self, path: str, *, permanently: bool) -> None:
        """Remove what is at a path, for good or into the trash."""
        above, name = self.place(path)
        node = above.children.pop(name, None)
        if node is None:
            raise Refused(404, "DiskNotFoundError")
        if permanently:
            self._drop(node)
            return
        node.origin = self.full(path)
        self.trash[f"{name}_{secrets.token_hex(20)}"] = node

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy a file or a folder."""
        node = self.get(source)
        above, name = self._free(target, overwrite=overwrite)
        above.children[name] = self._twin(node, name)

    def move(self, source: str, target: str, *, overwrite: bool) -> None:
        """Move a file or a folder."""
        node = self.get(source)
        above, name = self._free(target, overwrite=overwrite and self.rules.moves_replace, instead_of=node)
        old, was = self.place(source)
        del old.children[was]
        node.name = name
        above.children[name] = node

    def empty_trash(self, key: str | None = None) -> None:
        """Remove one thing, or all, from the trash."""
        for one in [key] if key is not None else list(self.trash):
            node = self.trash.pop(one, None)
            if node is None:
                raise Refused(404, "DiskNotFoundError")
            self._drop(node)

    def restore(self, key: str, *, overwrite: bool) -> str:
        """Put something from the trash back where it was, and return where."""
        node = self.trash.get(key)
        if node is None:
            raise Refused(404, "DiskNotFoundError")
        above, name = self._free(node.origin, overwrite=overwrite)
        above.children[name] = self.trash.pop(key)
        return node.origin

    def begin(
        self, effect: Callable[[], None] | None, *, polls: int | None = None, fails: bool = False
    ) -> str:
        """Return the id of a new operation."""
        token = secrets.token_hex(32)
        self.operations[token] = Operation(effect, self.rules.polls if polls is None else polls, fails)
        return token

    def ended(self, expires: int) -> bool:
        """Return whether a link has ended."""
        return self.clock.now() >= expires

    # -- parts

    def _free(self, path: str, *, overwrite: bool, instead_of: Node | None = None) -> tuple[Node, str]:
        above, name = self.place(path)
        there = above.children.get(name)
        if there is not None and there is not instead_of:
            if not overwrite or there.is_folder:
                raise Refused(409, A_FILE)
            self._drop(there)
        return above, name

    def _twin(self, node: Node, name: str) -> Node:
        twin = self._node(name)
        if node.content is None:
            twin.children = {one: self._twin(child, one) for one, child in node.children.items()}
            return twin
        sink = Sink(self.folder)
        for chunk in self.read(node.content, 0, node.content.size):
            sink.add(chunk)
        twin.content = sink.content()
        return twin

    def read(self, content: Content, start: int, end: int) -> Any:
        """Yield bytes from `start` up to `end`."""
        if content.data is not None:
            yield from (content.data[at : min(at + _PIECE, end)] for at in range(start, end, _PIECE))
            return
        if content.path is None:
            raise Refused(410, "gone")
        with content.path.open("rb", 0) as file:
            file.seek(start)
            while start < end and (chunk := file.read(min(_PIECE, end - start))):
                start += len(chunk)
                yield chunk

    def _drop(self, node: Node) -> None:
        if node.content is not None:
            node.content.drop()
        for child in node.children.values():
            self._drop(child)

    def _ends(self) -> int:
        return self.clock.now() + int(self.rules.link_seconds * _SECOND)

    def _node(self, name: str) -> Node:
        now = self.clock.now()
        return Node(name, f"1:{secrets.token_hex(32)}", now, now)


def shown(moment: int) -> str:
    """Return a time as answers spell it."""
    return datetime.fromtimestamp(moment / 1e6, UTC).isoformat(timespec="seconds")
