"""Every error id has words, and the code uses no id without."""

from __future__ import annotations

import re

import pytest

from leaderboard.core.messages import MESSAGES, UNKNOWN, message_for
from leaderboard.settings.env import REPOSITORY

ID = re.compile(r"\b(?:run|sample|submit|page):(?:user|app|model|data):[a-z0-9-]+[a-z0-9]")


@pytest.mark.parametrize("error_id", sorted(set(MESSAGES) - {"unknown"}))
def test_says_what_happened_and_what_to_do(error_id):
    message = MESSAGES[error_id]
    assert ID.fullmatch(error_id)
    assert message.title[0].isupper()
    assert not message.title.endswith(".")
    assert message.advice.endswith(".")
    assert message.severity in {"info", "warning", "error"}


def test_blames_the_one_who_can_act():
    assert message_for("run:user:bad-parameter").responsibility == "yours"
    assert message_for("run:app:worker-lost").responsibility == "ours"
    assert message_for("sample:model:truncated").responsibility == "model"


def test_an_id_of_a_newer_version_breaks_no_page():
    assert message_for("run:app:from-next-year") is UNKNOWN


def test_refuses_ids_in_the_code_that_have_no_words():
    used = {
        (found, path.relative_to(REPOSITORY).as_posix())
        for folder in ("leaderboard", "evaluators")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".html"}
        for found in ID.findall(path.read_text(encoding="utf-8"))
    }
    assert {entry for entry in used if entry[0] not in MESSAGES} == set()
