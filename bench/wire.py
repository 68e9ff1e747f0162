"""How each peer spells a request. Everything is laid out before a clock runs, so that a generator only sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_BOUNDARY = "----holdfast-bench-3f9c1d"


@dataclass(frozen=True, slots=True)
class Call:
    """One verb of one peer: `{key}` in the target, or in a form field, is where the key goes.

    With `form`, the body travels as the file of a multipart form after these fields; without, as it is.
    """

    method: str
    target: str
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def frame(self, host: str, key: str, size: int | None = None) -> tuple[bytes, bytes]:
        """Return what goes before and after a body of `size` bytes; with `size` None there is no body."""
        before, after = self._form(key) if self.form is not None else (b"", b"")
        lines = [f"{self.method} {self.target.format(key=key)} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.form is not None:
            lines.append(f"Content-Type: multipart/form-data; boundary={_BOUNDARY}")
        if size is not None:
            lines.append(f"Content-Length: {len(before) + size + len(after)}")
        return "\r\n".join([*lines, "", ""]).encode() + before, after

    def _form(self, key: str) -> tuple[bytes, bytes]:
        assert self.form is not None
        fields = [
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value.format(key=key)}\r\n'
            for name, value in self.form.items()
        ]
        file = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="data.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return ("".join(fields) + file).encode(), f"\r\n--{_BOUNDARY}--\r\n".encode()

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Call:
        """Return the call that `dataclasses.asdict` turned into `data`."""
        return cls(**data)  # type: ignore[arg-type]


class Answer:
    """Reads the answers of one connection. Feed it what arrives; it says when an answer is whole.

    Knows `Content-Length`, chunked bodies and bodies that end with the connection; keeps no body.
    """

    __slots__ = ("_head", "_left", "_tail", "chunked", "close", "done", "status")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Expect the next answer."""
        self._head = b""
        self._left = -1  #: bytes of the body still to come; -1: the head is not whole yet; -2: until the end
        self._tail = b""
        self.status = 0
        self.chunked = False
        self.close = False
        self.done = False

    def feed(self, data: bytes | memoryview) -> bool:
        """Take bytes, b"" for the end of the connection; return whether the answer is whole.

        Raises:
            ConnectionError: the connection ended inside the answer, or more than the answer arrived.
        """
        if not data:
            return self._ended()
        if self._left == -1:
            data = self._take_head(self._head + data)
            if self._left == -1:
                return False
        if self.chunked:
            self._tail = (self._tail + data[-7:])[-7:]
            self.done = self._tail.endswith(b"\r\n0\r\n\r\n") or self._tail == b"0\r\n\r\n"
        elif self._left >= 0:
            self._left -= len(data)
            if self._left < 0:
                raise ConnectionError("the peer sent more than it announced")
            self.done = self._left == 0
        return self.done

    def _take_head(self, data: bytes) -> bytes:
        """Read the head, if it is whole, and return the bytes behind it."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return b""
        head = data[: end + 2].lower()
        self.status = int(head[9:12])
        self.close = b"\r\nconnection: close\r\n" in head
        at = head.find(b"\r\ncontent-length: ")
        if at >= 0:
            self._left = int(head[at + 18 : head.index(b"\r\n", at + 18)])
        elif b"\r\ntransfer-encoding: chunked\r\n" in head:
            self.chunked, self._left = True, 0
        else:
            self._left = 0 if self.status in (204, 304) else -2
        return data[end + 4 :]

    def _ended(self) -> bool:
        if self._left == -2:
            self.done = self.close = True
            return True
        raise ConnectionError("the peer closed the connection inside an answer")
