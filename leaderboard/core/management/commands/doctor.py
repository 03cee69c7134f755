"""Say what is installed, reachable and missing on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboard.core.doctor import Finding, examine

_MARKS = {"ok": ("ok", "green"), "note": ("limited", "yellow"), "bad": ("broken", "red")}


class Command(BaseCommand):
    """Prints a table, or JSON; exit code 1 when something must be mended."""

    help = "Say what is installed, reachable and missing; exit code 1 if something must be mended."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine, print, and exit with the verdict."""
        findings = list(examine())
        sound = not any(finding.level == "bad" for finding in findings)
        if options["json"]:
            told = {"ok": sound, "findings": [asdict(finding) for finding in findings]}
            self.stdout.write(json.dumps(told, indent=1))
        else:
            Console(file=self.stdout).print(_table(findings))  # type: ignore[arg-type]  # it has write and flush
        if not sound:
            raise SystemExit(1)


def _table(findings: list[Finding]) -> Table:
    table = Table("what", "state", "found", box=None, pad_edge=False)
    for finding in findings:
        word, colour = _MARKS[finding.level]
        text = Text(finding.text)
        if finding.advice and finding.level != "ok":
            text.append(f"\n{finding.advice}", style="dim")
        table.add_row(finding.subject, Text(word, style=colour), text)
    return table
