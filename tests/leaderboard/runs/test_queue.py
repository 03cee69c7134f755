"""What the status page says of workers."""

from __future__ import annotations

import pytest
from django.urls import reverse

from leaderboard.accounts.models import User
from leaderboard.runs.models import Worker

BLOCKED = "GPU 3 (H200) is not free: 20.0 GiB are in use"


@pytest.fixture
def workers(db):
    facts = {"host": "here", "pid": 1, "hardware": ["gpu-h200"], "isolation": "bwrap"}
    Worker.objects.create(
        id="busy", state="running", devices=["0", "1"], holds="secret-model", shards=2, **facts
    )
    Worker.objects.create(id="stuck", state="blocked", devices=["3"], problem=BLOCKED, **facts)


def test_says_which_gpus_workers_own_and_what_is_in_the_way(client, workers):
    html = client.get(reverse("status")).content.decode()
    assert "(GPU 0, 1)" in html
    assert "Workers that leave work undone" in html
    assert BLOCKED in html
    assert "secret-model" not in html  # whose it is, only admins may know


def test_tells_admins_what_workers_hold(client, workers):
    client.force_login(User.objects.create_superuser("admin"))
    html = client.get(reverse("status")).content.decode()
    assert "secret-model" in html
    assert "(2 shards)" in html
