"""What plugin authors may rely on: a change here is a decision, not an accident."""

from __future__ import annotations

import json
from pathlib import Path

from evaluators import api

SNAPSHOT = Path(__file__).with_name("public_api.json")


def test_the_public_api_is_the_one_that_was_promised():
    promised = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert api.__all__ == promised


def test_every_promised_name_is_there():
    assert [name for name in api.__all__ if getattr(api, name, None) is None] == []
