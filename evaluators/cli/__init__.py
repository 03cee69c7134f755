"""The command line: words for people around the library's functions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from evaluators import __version__
from evaluators.errors import InputError, RedraftError

BAD_INPUT = 2
"""Exit status when somebody asked for something that cannot be."""

FAILED = 1
"""Exit status when the work itself failed."""

COMMANDS = {
    "check": "evaluators.cli.check:check",
    "compare": "evaluators.cli.compare:compare",
    "critique-set": "evaluators.cli.critique_set:critique_set",
    "decompose": "evaluators.cli.decompose:decompose",
    "export": "evaluators.cli.export:export",
    "grade": "evaluators.cli.grade:grade",
    "import": "evaluators.cli.export:import_results",
    "judge": "evaluators.cli.judge:judge",
    "list": "evaluators.cli.listing:list_installed",
    "new": "evaluators.cli.new:new",
    "prompts": "evaluators.cli.prompts:prompts",
    "run": "evaluators.cli.run:run",
    "score": "evaluators.cli.score:score",
    "show": "evaluators.cli.show:show",
    "survey": "evaluators.cli.survey:survey",
}
"""Where each command lives; imported only when it is used, so that every one starts fast."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="redraft")
def cli() -> None:
    """Evaluate how a model's answers change when it looks at them again."""


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; a failure is one line on standard error (and JSON with `--json`)."""
    try:
        status = cli.main(list(arguments), prog_name="python -m evaluators", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except RedraftError as error:
        _report(error, as_json="--json" in arguments)
        return BAD_INPUT if isinstance(error, InputError) else FAILED
    return status if isinstance(status, int) else 0  # click returns the status of an early exit


def _report(error: RedraftError, *, as_json: bool) -> None:
    line = " ".join(str(error).split())
    print(f"error: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"id": error.id, "reason": line}}))
