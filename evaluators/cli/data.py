"""The option that names a folder with data sets, for commands that open tasks."""

from __future__ import annotations

import os
from pathlib import Path

import click

from evaluators.tasks.environment import DATA_DIR


def _name(ctx: click.Context, _param: click.Parameter, folder: Path | None) -> None:
    """Name the folder to the processes that open tasks, until the command ends."""
    if folder is None:
        return
    before = os.environ.get(DATA_DIR)
    os.environ[DATA_DIR] = str(folder.resolve())

    def restore() -> None:
        os.environ.pop(DATA_DIR, None)
        if before is not None:
            os.environ[DATA_DIR] = before

    ctx.call_on_close(restore)


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    expose_value=False,
    callback=_name,
    help=f"A folder with data sets that are not to be fetched; by default {DATA_DIR}.",
)
"""Adds `--data-dir` to a command."""
