"""`push` and `pull` by themselves: what runs every minute and mostly finds nothing to do should not wait for its imports."""

from __future__ import annotations

from typing import Final

NAMES: Final = frozenset({"push", "pull"})


def run(arguments: list[str]) -> None:
    """Run one of these commands; ends as the whole command line does, with `SystemExit`."""
    import gc
    import os
    from importlib import import_module

    gc.set_threshold(100_000, 20, 20)
    # looking for plugins of pydantic, of which there are none here, reads every installed package
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    import typer

    gc.freeze()
    app = typer.Typer(
        name="holdfast",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # with it the command keeps its name, although it is the only one
    import_module(f"holdfast.cli.{arguments[0]}").register(app, "Objects")
    app(arguments, prog_name="holdfast")
