"""The page that compares runs on the same samples."""

from __future__ import annotations

from itertools import count

import pytest
from django.core.cache import cache
from django.urls import reverse

from leaderboard.boards.compare import versus
from leaderboard.runs.models import State
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db

NUMBERS = count()


@pytest.fixture(autouse=True)
def fresh_cache():
    cache.clear()


def another(owner, like, flips, **fields):
    """A completed run on the same suite whose samples went these ways."""
    label = f"org/other-{next(NUMBERS)}"
    submission = make.SubmissionFactory(user=owner, suite=like.suite, model__label=label)
    run = make.RunFactory(submission=submission, suite=like.suite, state=State.COMPLETED, **fields)
    shard = make.ShardFactory(run=run, task=like.shards.get().task, size=len(flips))
    for position, flip in enumerate(flips):
        make.talk(make.SampleResultFactory(shard=shard, position=position, flip=flip))
    make.completed(run)
    return run


@pytest.fixture
def other(owner, finished):
    """Against cc, ci, ic, ii twice: the last answer is right on the right alone in 3 samples."""
    return another(owner, finished, ["cc", "cc", "ic", "ic", "cc", "cc", "ci", "ii"])


def look(client, *runs, **query):
    return client.get(reverse("compare"), {"run": [run.public_id for run in runs], **query})


def test_offers_what_can_be_compared(client, finished):
    html = client.get(reverse("compare")).content.decode()
    assert "Choose two or three runs on one suite." in html
    assert finished.public_id in html
    html = look(client, finished).content.decode()
    assert f'value="{finished.public_id}" selected' in html


def test_an_empty_server(client):
    assert "No run has completed yet." in client.get(reverse("compare")).content.decode()


def test_differences_are_paired(finished, other):
    ((comparison),) = versus([finished, other], "different")
    ((shown),) = comparison.tasks
    told = shown.told
    assert (told.n, told.only_left, told.only_right) == (8, 0, 0)
    lines = {line.title: line for line in told.lines}
    last = lines["Acc last"]
    # right at last: cc, ic, cc, ic on the left; cc, cc, ic, ic, cc, cc on the right
    assert (last.left.text, last.right.text, last.difference.text) == ("50.0", "75.0", "+25.0")
    assert last.difference.method == "newcombe paired"
    assert (told.test, round(told.p, 3), shown.p_holm) == ("mcnemar exact", 0.625, told.p)
    assert lines["Calls"].difference.text == "0.0"


@pytest.mark.parametrize(
    ("show", "positions"),
    [("different", [1, 3, 5, 6]), ("left", [6]), ("right", [1, 3, 5]), ("all", list(range(8)))],
)
def test_samples_that_went_otherwise(finished, other, show, positions):
    ((comparison),) = versus([finished, other], show)
    (shown,) = comparison.tasks
    assert [pair.position for pair in shown.pairs] == positions
    assert shown.total == len(positions)


def test_links_both_transcripts(client, finished, other):
    html = look(client, finished, other, show="left").content.decode()
    left = finished.results.get(position=6)
    right = other.results.get(position=6)
    for run, row in ((finished, left), (other, right)):
        assert reverse("sample", args=[run.public_id, row.pk]) in html
    assert "1 sample right in the reference only" in html
    assert "after Holm" in html


def test_several_are_corrected(owner, finished, other):
    third = another(owner, finished, ["cc"] * 8)
    found = versus([finished, other, third], "all")
    ps = [shown.told.p for one in found for shown in one.tasks]
    assert [shown.p_holm for one in found for shown in one.tasks] == [
        max(ps) if p == max(ps) else min(1, 2 * p) for p in ps
    ]


def test_the_last_answers_are_coloured_by_their_corrected_test(owner, finished):
    """4 to 0 of 8: the interval leaves 0 out, the exact test does not call it significant."""
    ((shown,),) = [
        one.tasks for one in versus([finished, another(owner, finished, ["cc"] * 8)], "all")
    ]
    line = next(line for line in shown.lines if line.name == "acc@last")
    assert (line.estimate.low > 0, shown.p_holm) == (True, 0.125)
    assert line.difference.tone == "quiet"
    assert line.difference.note == "not significant, p 0.125 (Holm)"


def test_left_out_samples_are_counted(client, owner, finished):
    few = another(owner, finished, ["cc", "ci", "ic"])
    assert "left out: 5 only in the reference, 0 only in the other" in (
        look(client, finished, few).content.decode()
    )


def test_imported_runs_without_costs_have_none(owner, finished):
    theirs = another(owner, finished, ["cc"] * 8, imported="lm-eval")
    theirs.results.update(calls=0)
    ((comparison),) = versus([finished, theirs], "all")
    lines = {line.title: line for line in comparison.tasks[0].told.lines}
    assert lines["Calls"].right.text == "–"
    assert lines["Calls"].difference.note == "not recorded on both sides"


def test_another_task_of_the_same_name_is_not_compared(client, finished, other):
    task = finished.shards.get().task
    for run, digest in ((finished, "a"), (other, "b")):
        run.manifest = {"tasks": {task: {"digest": digest}}}
        run.save(update_fields=["manifest"])
    html = look(client, finished, other).content.decode()
    assert "Not compared: it is not the same task in both runs" in html


class TestRefusals:
    def test_refuses_what_cannot_be_compared(self, client, owner, finished, running):
        suite = make.SuiteFactory(name="elsewhere")
        submission = make.SubmissionFactory(user=owner, suite=suite)
        elsewhere = make.RunFactory(submission=submission, suite=suite, state=State.COMPLETED)
        for runs, reason in [
            ([finished, running], "has not completed"),
            ([finished, elsewhere], "Only runs on the same suite"),
        ]:
            page = look(client, *runs)
            assert page.status_code == 400
            assert reason in page.content.decode()

    def test_refuses_more_than_three(self, client, owner, finished, other):
        runs = [finished, other, *(another(owner, finished, ["cc"] * 8) for _ in range(2))]
        page = look(client, *runs)
        assert page.status_code == 400
        assert "At most 3 runs" in page.content.decode()

    def test_refuses_runs_that_are_not_public(self, client, finished, other):
        other.published = False
        other.save(update_fields=["published"])
        assert look(client, finished, other).status_code == 404
        assert client.get(reverse("compare"), {"run": "none"}).status_code == 404

    def test_refuses_an_unknown_kind_of_samples(self, client, finished, other):
        assert look(client, finished, other, show="none").status_code == 400


def test_few_queries_and_one_computation(client, finished, other, django_assert_max_num_queries):
    with django_assert_max_num_queries(15):
        look(client, finished, other)
    with django_assert_max_num_queries(8):
        look(client, finished, other)
