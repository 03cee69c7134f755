"""Four models on a board, and how the tests of it read it."""

from __future__ import annotations

from tests.leaderboard import factories as make
from tests.leaderboard.factories import Flips

URL = "/"
LABELS = ("org/alpha", "org/beta", "org/gamma", "org/delta")
FLIPS = {
    "org/alpha": Flips(100, 2, 10, 8),
    "org/beta": Flips(60, 10, 5, 45),
    "org/gamma": Flips(20, 3, 30, 67),
    "org/delta": Flips(118, 0, 2, 0),  # CS rests on two answers
}


def submitted(label: str, **run):
    submission = make.SubmissionFactory(model__label=label)
    return make.RunFactory(submission=submission, **run)


def shown(client, **query) -> list[str]:
    rows = client.get(URL, {"format": "json", **query}).json()["rows"]
    return [row["model"].removeprefix("org/") for row in rows]
