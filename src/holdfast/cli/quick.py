"""One command by itself: what is called for a moment, again and again, should not wait for the others to be built."""

from __future__ import annotations

from typing import Final

from holdfast.cli.plain import lighten
from holdfast.cli.rooms import WORDS, register

_SYNCS: Final = ("push", "pull")
COLLECT: Final = (250_000, 20, 20)  #: objects between two looks of the collector, in a command


def knows(arguments: list[str]) -> bool:
    """Tell whether the first of these names a command."""
    return bool(arguments) and arguments[0] in WORDS


def run(arguments: list[str]) -> None:
    """Run a command that it knows; ends as the whole command line does, with `SystemExit`."""
    import gc
    import os

    module, panel = WORDS[arguments[0]]
    if module != "serve":  # what lives long keeps the usual habits
        gc.set_threshold(*COLLECT)
    # looking for plugins of pydantic, of which there are none here, reads every installed package
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    if module in _SYNCS:
        from holdfast.cli import early

        early.begin(arguments)
    import typer
    from typer.main import get_command

    gc.freeze()
    app = typer.Typer(
        name="holdfast",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # with it a command keeps its name, although it is the only one
    register(app, module, panel)
    built = get_command(app)
    lighten(built)
    built(arguments, prog_name="holdfast")
