"""Everything that writes runs: what people ask for, what workers do, what the sweeper mends."""

from leaderboard.runs.services.claiming import Claim, Player, claim
from leaderboard.runs.services.controls import ask_for_controls, make_controls
from leaderboard.runs.services.importing import Imported, import_run
from leaderboard.runs.services.leases import (
    Ending,
    beat,
    commit_batch,
    finish,
    fix_size,
    note_rungs,
    present,
    release,
    start,
)
from leaderboard.runs.services.reading import read_results
from leaderboard.runs.services.submitting import Submitted, cancel, retry, submit
from leaderboard.runs.services.sweeping import Swept, sweep

__all__ = [
    "Claim",
    "Ending",
    "Imported",
    "Player",
    "Submitted",
    "Swept",
    "ask_for_controls",
    "beat",
    "cancel",
    "claim",
    "commit_batch",
    "finish",
    "fix_size",
    "import_run",
    "make_controls",
    "note_rungs",
    "present",
    "read_results",
    "release",
    "retry",
    "start",
    "submit",
    "sweep",
]
