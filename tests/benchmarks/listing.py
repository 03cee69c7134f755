"""How long `python -m evaluators list` takes, against describing every method with its card.

The list needs what methods declare and no more: one process imports them all. The other side is
what `sync_plugins` records: digests, schemas of parameters, and every method's example played. Both
must name the same methods with the same summaries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import harness
from harness import Goal, Run

LIST = [sys.executable, "-m", "evaluators", "list", "--json"]
EVERYTHING = [
    sys.executable,
    "-c",
    "import json; from evaluators.cards import inspect_evaluators; "
    "from evaluators.registry import installed; "
    "found = inspect_evaluators([entry.name for entry in installed()]); "
    "print(json.dumps([{'name': card.name, 'summary': card.summary} for card in found]))",
]


def timed(command: list[str]) -> Run:
    """Run a command that prints methods as JSON, and say how long it and its children took."""
    before, start = os.times(), time.perf_counter()
    told = subprocess.run(command, cwd=harness.ROOT, capture_output=True, check=True).stdout
    work, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system
    return Run(
        work,
        outcome={row["name"]: row["summary"] for row in json.loads(told)},
        figures={
            "processor, s": spent - before.children_user - before.children_system,
        },
    )


def main() -> None:
    """Time both sides in pairs."""
    given = harness.options(__doc__)
    pairs = harness.alternate(lambda: timed(LIST), lambda: timed(EVERYTHING), given.pairs)
    harness.report(
        f"{len(pairs[0][0].outcome)} methods",
        sides={"list": [one for one, _ in pairs], "all of it": [other for _, other in pairs]},
        goals=[Goal("list, of all of it", harness.ratios(pairs, harness.work), 0.6)],
        given=given,
    )


if __name__ == "__main__":
    main()
