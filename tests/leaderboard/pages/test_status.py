"""Following work: progress, reasons, failures in words, cancelling, retrying, the queue."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from leaderboard.runs.models import Run, RunControl, State
from leaderboard.runs.progress import run_progress
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db


def url(run: Run, name: str = "run") -> str:
    return reverse(name, args=[run.public_id])


class TestProgress:
    def test_percent_and_eta(self, running):
        running.started_at = timezone.now() - timedelta(seconds=40)
        running.save()
        shard = running.shards.get()
        for position in range(20):
            make.SampleResultFactory(shard=shard, position=position)
        progress = run_progress(running, [shard])
        assert (progress.done, progress.total, progress.percent) == (20, 40, 50.0)
        assert progress.eta_seconds == pytest.approx(40, rel=0.2)
        assert progress.eta_method == "20 samples left at the pace of the last 20"

    def test_no_total_no_percent(self, running):
        make.ShardFactory(run=running, task="letters", size=None)
        progress = run_progress(running, list(running.shards.all()))
        assert (progress.total, progress.percent, progress.eta_seconds) == (None, None, None)

    def test_json_twin(self, client, running):
        data = client.get(url(running), {"format": "json"}).json()
        assert data["state"] == "running"
        assert data["progress"] == {"done": 20, "total": 40}
        assert data["progress_pct"] == 50.0
        assert data["failure"] is None


class TestPolling:
    def test_a_live_run_polls_and_refreshes_without_script(self, client, running):
        html = client.get(url(running)).content.decode()
        assert 'hx-trigger="every 2s"' in html
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html

    def test_the_poll_gets_the_part_alone(self, client, running):
        page = client.get(url(running), headers={"HX-Request": "true"})
        assert page.content.decode().lstrip().startswith('<section id="run-status"')
        assert "HX-Refresh" not in page

    def test_polling_stops_at_the_end(self, client, finished):
        html = client.get(url(finished)).content.decode()
        assert "hx-trigger" not in html
        assert "http-equiv" not in html
        assert client.get(url(finished), headers={"HX-Request": "true"})["HX-Refresh"] == "true"


class TestFailure:
    def test_says_what_whose_and_what_to_do(self, client, owner):
        run = make.RunFactory(
            submission__user=owner,
            state=State.FAILED,
            failure_id="run:user:no-chat-template",
            failure_detail="tokenizer.json has none",
        )
        html = client.get(url(run)).content.decode()
        for words in (
            "The model has no chat template", "run:user:no-chat-template",
            "the submitter can mend it", "Choose single_pass", "tokenizer.json has none",
        ):  # fmt: skip
            assert words in html
        failure = client.get(url(run), {"format": "json"}).json()["failure"]
        assert failure["responsibility"] == "yours"

    def test_an_id_of_a_newer_version_breaks_nothing(self, client):
        run = make.RunFactory(state=State.FAILED, failure_id="run:app:from-the-future")
        assert client.get(url(run)).status_code == 200


class TestButtons:
    def test_the_owner_cancels(self, sign_in, owner, running):
        page = sign_in(owner).post(url(running, "run_cancel"), follow=True)
        running.refresh_from_db()
        assert running.cancel_requested_at is not None
        assert "will stop within seconds" in page.content.decode()

    def test_strangers_see_no_buttons(self, client, sign_in, stranger, running):
        for visitor in (client, sign_in(stranger)):
            assert "Cancel this run" not in visitor.get(url(running)).content.decode()

    def test_the_owner_tries_again(self, sign_in, owner):
        run = make.RunFactory(submission__user=owner, state=State.FAILED)
        client = sign_in(owner)
        assert "Try again" in client.get(url(run)).content.decode()
        page = client.post(url(run, "run_retry"))
        again = Run.objects.get(retry_of=run)
        assert page["Location"] == url(again)

    def test_refuses_to_retry_what_is_complete(self, sign_in, owner, finished):
        page = sign_in(owner).post(url(finished, "run_retry"), follow=True)
        assert "Only a run that failed or was cancelled" in page.content.decode()
        assert Run.objects.count() == 1


class TestQueue:
    def test_names_the_oldest_and_why(self, client, running):
        waiting = make.RunFactory()
        make.ShardFactory(run=waiting)
        html = client.get(reverse("status")).content.decode()
        assert "held by worker-1" in html
        assert "queued; no worker has taken it yet" in html
        assert "2 runs not finished" in html

    def test_warns_without_a_sandbox(self, client):
        make.WorkerFactory(isolation="none")
        assert "run without a sandbox" in client.get(reverse("status")).content.decode()

    def test_is_calm_with_one(self, client):
        make.WorkerFactory(isolation="bwrap")
        assert "run without a sandbox" not in client.get(reverse("status")).content.decode()

    def test_hides_what_is_not_published(self, client, running):
        running.published = False
        running.save()
        assert running.public_id not in client.get(reverse("status")).content.decode()


def test_submission_lists_its_runs(client, running):
    page = client.get(reverse("submission", args=[running.submission.public_id]))
    html = page.content.decode()
    assert url(running) in html
    assert "20 / 40" in html
    part = client.get(page.request["PATH_INFO"], headers={"HX-Request": "true"})
    assert part.content.decode().startswith('<div id="runs"')


def test_a_submission_of_many_runs_takes_few_queries(
    client, running, django_assert_max_num_queries
):
    for number in range(10):
        run = make.RunFactory(
            submission=running.submission, params={"rounds": number + 2}, state=State.COMPLETED
        )
        make.ShardFactory(run=run, size=40)
    with django_assert_max_num_queries(6):
        page = client.get(reverse("submission", args=[running.submission.public_id]))
    assert page.content.decode().count("/ 40") == 11


def test_manifest_is_there_when_sealed(client, finished, running):
    data = client.get(url(finished, "manifest")).json()
    assert data == {"sha256": finished.manifest_sha256, "manifest": {"format": 1}}
    assert client.get(url(running, "manifest")).status_code == 404


class TestControls:
    """A run's page names what it is held against, or why there is nothing."""

    def test_names_each_with_its_state(self, client, finished):
        control = make.RunFactory(submission=finished.submission, params={"rounds": 2})
        RunControl.objects.create(
            run=finished, kind="sc_calls", control=control, note="capped at 64"
        )
        RunControl.objects.create(run=finished, kind="best_of_n", reason="the runtime lacks it")
        RunControl.objects.create(run=finished, kind="null_turn")
        html = client.get(url(finished)).content.decode()
        assert url(control) in html
        assert "capped at 64" in html
        assert "none: the runtime lacks it" in html
        assert "none: it was deleted" in html
        told = client.get(url(finished), {"format": "json"}).json()["controls"]
        assert [(row["kind"], row["state"], row["reason"]) for row in told] == [
            ("sc_calls", "pending", None),
            ("best_of_n", None, "the runtime lacks it"),
            ("null_turn", None, "the control was deleted"),
        ]

    def test_says_when_they_will_come(self, client, running):
        Run.objects.filter(pk=running.pk).update(with_controls=True)
        assert "decided once it has completed" in client.get(url(running)).content.decode()

    def test_can_be_asked_for_later(self, client, sign_in, owner, finished):
        mine = sign_in(owner)
        assert "Hold it against controls" in mine.get(url(finished)).content.decode()
        assert "Hold it against controls" not in client.get(url(finished)).content.decode()
        assert mine.post(url(finished, "run_hold")).url == url(finished)
        finished.refresh_from_db()
        assert finished.with_controls
        assert "Hold it against controls" not in mine.get(url(finished)).content.decode()

    def test_a_submission_is_watched_until_they_are_made(self, client, finished):
        page = reverse("submission", args=[finished.submission.public_id])
        assert "hx-trigger" not in client.get(page).content.decode()
        Run.objects.filter(pk=finished.pk).update(with_controls=True)
        assert "hx-trigger" in client.get(page).content.decode()
