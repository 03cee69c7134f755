"""Fixtures of the page tests: who looks, and what there is to see."""

from __future__ import annotations

import pytest
from django.test import Client

from leaderboard.runs.models import State
from tests.leaderboard import factories as make
from tests.leaderboard.factories import Flips
from tests.leaderboard.pages.boards import FLIPS, submitted


@pytest.fixture
def owner(db):
    return make.UserFactory(username="owner")


@pytest.fixture
def staff(db):
    return make.UserFactory(username="staff", is_staff=True, is_superuser=True)


@pytest.fixture
def stranger(db):
    return make.UserFactory(username="stranger")


@pytest.fixture
def board(db):
    """Four models with a result, and one whose RSS is null, two of them equal in nothing."""
    for label, flips in FLIPS.items():
        make.completed(submitted(label, state=State.COMPLETED), flips={"sums": flips})
    all_right = {"sums": Flips(120, 0, 0, 0)}
    make.completed(submitted("org/perfect", state=State.COMPLETED), flips=all_right)


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def sign_in():
    return signed_in


@pytest.fixture
def finished(owner):
    """A completed run of one model with samples of all four flips, and its board row."""
    submission = make.SubmissionFactory(user=owner, model__label="org/tiny")
    run = make.RunFactory(submission=submission, state=State.COMPLETED)
    shard = make.ShardFactory(run=run, size=8)
    for position, flip in enumerate(["cc", "ci", "ic", "ii"] * 2):
        result = make.SampleResultFactory(
            shard=shard, position=position, flip=flip, changed=flip in {"ci", "ic"}
        )
        make.talk(result)
    make.completed(run)
    return run


@pytest.fixture
def running(owner):
    """A run that a worker holds, half done."""
    submission = make.SubmissionFactory(user=owner, model__label="org/busy")
    run = make.RunFactory(submission=submission, state=State.RUNNING)
    make.ShardFactory(run=run, size=40, progress_done=20)
    return run
