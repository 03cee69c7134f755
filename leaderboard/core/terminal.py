"""What commands that run services share: their options and how they talk."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.core.management import CommandParser
from rich.console import Console

from leaderboard.core.stack import Wishes


def add_stack_arguments(parser: CommandParser) -> None:
    """Add `--host`, `--port`, `--workers` and `--no-worker`."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=8000, help="port to serve on (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=_count, default=1, help="processes that evaluate (default: %(default)s)"
    )
    parser.add_argument("--no-worker", action="store_true", help="serve pages, evaluate nothing")


def wishes_from(options: dict[str, Any]) -> Wishes:
    """Return what the options ask for."""
    workers = 0 if options["no_worker"] else options["workers"]
    return Wishes(host=options["host"], port=options["port"], workers=workers)


def speaker(console: Console) -> Callable[[str], None]:
    """Return a function that prints one line, as it is."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65535")
    return port


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= count <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 64")
    return count
