"""The guides tell the truth: their console blocks are run by bash, their Python by doctest, and compared with what they show."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.cli_tools import EXECUTABLE, clean_environment, free_port
from tests.doors.preloaded import executable

pytestmark = pytest.mark.doors

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(console|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = [page for page in PAGES if "```console\n" in page.read_text()]
PYTHON = [page for page in PAGES if "```pycon\n" in page.read_text()]


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of one language, in order."""
    return [text for found, text in _BLOCK.findall(page.read_text()) if found == language]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command, `> ` before its further lines, with the output shown for it; `[3]` at the end is an exit status."""
    command, shown = "", ""
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], ""
        elif command and not shown and line.startswith(">"):
            command += "\n" + line[2:]
        else:
            shown += line + "\n"
    if command:
        yield command, shown


class Shell:
    """Runs commands one after the other, each seeing the variables of those before. `8083` is a free port here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / ".state"
        self._state.write_text("")
        self._port = str(free_port())
        self._environment = clean_environment(
            HOLDFAST_PORT=self._port, PATH=f"{Path(EXECUTABLE).parent}:{os.environ['PATH']}"
        )
        self._preloaded = f"{Path(executable()).parent}:{self._environment['PATH']}"
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> str:
        """Return what the command printed, with its exit status at the end when it is not 0."""
        command = command.replace("8083", self._port).replace("scripts/serve", f"{ROOT}/scripts/serve")
        command = command.replace(".venv/bin/holdfast", "holdfast")
        if command.endswith(" &"):
            self._start(command.removesuffix(" &"))
            return ""
        keep = f"status=$?; export -p > {shlex.quote(str(self._state))}; set -a; exit $status"
        script = f"set -a; source {shlex.quote(str(self._state))}\n{command}\n{keep}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment | {"PATH": self._preloaded},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        status = f"[{done.returncode}]\n" if done.returncode else ""
        return done.stdout.decode().replace(self._port, "8083") + status

    def _start(self, command: str) -> None:
        self._running.append(
            subprocess.Popen(
                shlex.split(command), cwd=self._folder, env=self._environment, stderr=subprocess.DEVNULL
            )
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(300):
            try:
                with opener.open(f"http://127.0.0.1:{self._port}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"{command} did not come up")

    def close(self) -> None:
        """End what was started."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def agrees(shown: str, seen: str) -> bool:
    """Tell whether `seen` is what was `shown`, where `…` stands for anything within a line and spaces only separate."""
    wanted, found = ([" ".join(line.split()) for line in text.strip().splitlines()] for text in (shown, seen))
    if len(wanted) != len(found):
        return False
    return all(
        re.fullmatch(".*".join(map(re.escape, want.split("…"))), got)
        for want, got in zip(wanted, found, strict=True)
    )


@pytest.mark.parametrize("page", CONSOLE, ids=lambda page: page.stem)
def test_console_blocks_print_what_they_show(page: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    try:
        for block in blocks(page, "console"):
            for command, shown in steps(block):
                seen = shell.run(command)
                assert agrees(shown, seen), f"$ {command}\n--- shown\n{shown}--- seen\n{seen}"
    finally:
        shell.close()


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_python_blocks_print_what_they_show(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    example = doctest.DocTestParser().get_doctest(
        "\n".join(blocks(page, "pycon")), {}, page.stem, str(page), 0
    )
    told: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append)
    assert outcome.attempted > 3
    assert outcome.failed == 0, "".join(told)


def test_a_wrong_page_would_be_noticed() -> None:
    assert agrees("a … c\n", "a b c\n")
    assert not agrees("a … c\n", "a b d\n")
    assert not agrees("a\n", "a\nb\n")
    assert not agrees("a\n", "")
    assert len(CONSOLE) >= 1
    assert len(PYTHON) >= 1


def test_the_table_of_exit_statuses_is_the_real_one() -> None:
    from holdfast.cli.exit import ENDINGS

    page = (ROOT / "docs" / "guides" / "command-line.md").read_text()
    shown = {code: int(status) for status, code in re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE)}
    assert shown == {kind.code: end.status for kind, end in ENDINGS.items()}
