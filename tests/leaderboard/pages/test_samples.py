"""Lists of samples and transcripts: filters, stable order, keyset pages, neighbours, JSON twins."""

from __future__ import annotations

import re

import pytest
from django.test import RequestFactory
from django.urls import reverse

from leaderboard.runs.models import State
from leaderboard.runs.samples import SampleFilter, neighbours
from leaderboard.runs.samples import page as sample_page
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(db):
    """120 samples over two tasks, written in an order that is not theirs."""
    run = make.RunFactory(state=State.COMPLETED)
    shards = {task: make.ShardFactory(run=run, task=task) for task in ("beta", "alpha")}
    for position in reversed(range(60)):
        for shard in shards.values():
            make.SampleResultFactory(
                shard=shard,
                position=position,
                flip=["cc", "ci", "ic", "ii"][position % 4],
                changed=position % 4 in {1, 2},
                truncated=position % 10 == 0,
                parsed=position % 7 != 0,
                status="unscored" if position == 59 else "ok",
            )
    return run


def listed(client, run, **query) -> list[tuple[str, int]]:
    """Follow the pages of a list to its end."""
    url, found = reverse("samples", args=[run.public_id]), []
    while True:
        answer = client.get(url, {"format": "json", **query}).json()
        found += [(row["task"], row["position"]) for row in answer["samples"]]
        if answer["after"] is None:
            return found
        query["after"] = answer["after"]


EVERYTHING = [(task, position) for task in ("alpha", "beta") for position in range(60)]


def test_pages_hold_every_sample_once_in_order(client, run):
    assert listed(client, run) == EVERYTHING


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"task": "beta"}, lambda task, p: task == "beta"),
        ({"flip": "ci"}, lambda task, p: p % 4 == 1),
        ({"flag": "changed"}, lambda task, p: p % 4 in {1, 2}),
        ({"flag": "truncated"}, lambda task, p: p % 10 == 0),
        ({"flag": "unparsed"}, lambda task, p: p % 7 == 0 and p != 59),
        ({"flag": "unscored"}, lambda task, p: p == 59),
        (
            {"flip": "ic", "task": "alpha", "flag": "changed"},
            lambda t, p: t == "alpha" and p % 4 == 2,
        ),
    ],
)
def test_filters(client, run, query, wanted):
    assert listed(client, run, **query) == [pair for pair in EVERYTHING if wanted(*pair)]


def test_going_back_shows_the_same_pages(run):
    def page(**query):
        return sample_page(run, SampleFilter(), RequestFactory().get("/", query).GET)

    first = page()
    second = page(after=first.after)
    third = page(after=second.after)
    assert [row.pk for row in page(before=third.before).rows] == [row.pk for row in second.rows]
    back = page(before=second.before)
    assert [row.pk for row in back.rows] == [row.pk for row in first.rows]
    assert (first.before, back.before, third.after) == (None, None, None)


def test_neighbours_stay_within_the_filter(run):
    wanted = SampleFilter(flip="ci", task="alpha").of(run)
    rows = list(wanted)
    assert neighbours(wanted, rows[0]) == (None, rows[1].pk)
    assert neighbours(wanted, rows[3]) == (rows[2].pk, rows[4].pk)
    assert neighbours(wanted, rows[-1]) == (rows[-2].pk, None)


def test_order_is_the_same_for_every_run(client, run):
    other = make.RunFactory(state=State.COMPLETED, params={"rounds": 2})
    shard = make.ShardFactory(run=other, task="alpha")
    for position in (2, 0, 1):
        make.SampleResultFactory(shard=shard, position=position)
    assert listed(client, other) == listed(client, run)[:3]


@pytest.mark.parametrize("query", [{"flip": "xx"}, {"flag": "x"}, {"task": "none"}, {"after": "-1"},
                                   {"before": "1e3"}, {"after": "9" * 30}])  # fmt: skip
def test_refuses_what_is_not_on_offer(client, run, query):
    assert client.get(reverse("samples", args=[run.public_id]), query).status_code == 400


def test_few_queries(client, run, django_assert_max_num_queries):
    with django_assert_max_num_queries(6):
        client.get(reverse("samples", args=[run.public_id]))


@pytest.fixture
def sample(run):
    result = run.results.get(task="alpha", position=1)
    make.talk(result)
    make.JudgementFactory(result=result, answer_idx=0, node_idx=1, value="wrong", score=0.25)
    return result


@pytest.fixture
def html(client, run, sample) -> str:
    url = reverse("sample", args=[run.public_id, sample.pk])
    return client.get(url, {"flip": "ci"}).content.decode()


class TestTranscript:
    def test_shows_every_turn_with_its_grade(self, html):
        assert re.findall(r"<header><b>(\w+)</b> round (\d)", html) == [
            ("Asked", "0"), ("Answer", "0"), ("Asked", "1"), ("Answer", "1"),
        ]  # fmt: skip
        assert re.findall(r'Answer \d: <span class="verdict (\w+)"', html) == ["right", "wrong"]
        assert "Says of answer 1: <b>wrong</b> (0.250)" in html

    def test_shows_what_was_asked_and_folds_the_whole_prompt(self, html):
        assert "Check your answer, then give it again." in html
        assert re.findall(r"The whole prompt, (\d) messages", html) == ["2", "4"]

    def test_neighbours_keep_the_filter(self, html, run):
        after = run.results.get(task="alpha", position=5)
        assert f"/samples/{after.pk}/?flip=ci" in html
        assert 'rel="prev"' not in html

    def test_cost_and_sharing(self, html):
        assert "2 calls, 60 tokens in, 24 out (12 computed" in html
        assert html.count('title="taken from an equal call') == 1

    def test_json_has_the_raw_texts(self, client, run, sample):
        url = reverse("sample", args=[run.public_id, sample.pk])
        data = client.get(url, {"format": "json"}).json()
        assert [node["text"] for node in data["nodes"]] == list(make.TALK)
        assert [answer["correct"] for answer in data["answers"]] == [True, False]
        assert data["verdicts"][0]["value"] == "wrong"

    def test_few_queries(self, client, run, sample, django_assert_max_num_queries):
        with django_assert_max_num_queries(10):
            client.get(reverse("sample", args=[run.public_id, sample.pk]))


class TestChoices:
    """Likelihoods are shown as probabilities among the choices."""

    PAYLOAD = {"choices": [" Paris", " Lyon"], "logprobs": [-0.5, -2.5], "labels": False}

    @pytest.fixture
    def weighed(self, run):
        result = run.results.get(task="alpha", position=2)
        make.NodeFactory(result=result, text="", finish_reason="", payload=self.PAYLOAD)
        make.AnswerFactory(
            result=result,
            text=" Paris",
            likelihoods=[{"text": " Paris", "logprob": -0.5, "tokens": 1, "greedy": True}],
        )
        return result

    def page(self, client, result):
        url = reverse("sample", args=[result.run.public_id, result.pk])
        return client.get(url).content.decode()

    def test_are_a_table_with_probabilities_that_add_up(self, client, weighed):
        html = self.page(client, weighed)
        found = re.findall(r'<td class="num share">([\d.]+)<svg', html)
        assert found == ["0.881", "0.119"]
        assert html.count("likeliest") == 1
        assert '<table class="options"><caption>How likely each choice' in html

    def test_can_be_downloaded(self, client, weighed):
        url = reverse("sample_text", args=[weighed.run.public_id, weighed.pk, "choices-0"])
        text = client.get(url).content.decode()
        assert text.startswith("[0.8808, log-probability -0.5000]\n Paris\n\n[0.1192")

    def test_are_in_the_json(self, client, weighed):
        url = reverse("sample", args=[weighed.run.public_id, weighed.pk])
        data = client.get(url, {"format": "json"}).json()
        assert data["answers"][0]["likelihoods"][0]["greedy"] is True
        assert data["nodes"][0]["payload"] == self.PAYLOAD

    @pytest.mark.parametrize(
        "payload",
        [
            {"choices": ["a"], "logprobs": [-1, -2]},
            {"choices": [1], "logprobs": [-1]},
            {"choices": "ab", "logprobs": [-1, -2]},
            {"choices": ["a"], "logprobs": ["x"]},
            {"choices": [], "logprobs": []},
            {"choices": ["a"], "logprobs": [True]},
            {"choices": ["a"]},
        ],
    )
    def test_what_an_evaluator_noted_otherwise_is_no_table(self, client, weighed, payload):
        weighed.nodes.update(payload=payload)
        assert "options" not in self.page(client, weighed)

    def test_huge_choices_stay_within_the_pages_budget(self, client, weighed):
        texts = ["x" * 50_000] * 26
        weighed.nodes.update(payload={"choices": texts, "logprobs": [-1.0] * 26})
        assert len(self.page(client, weighed)) < 500_000

    def test_hostile_choices_are_shown_as_text(self, client, weighed):
        weighed.nodes.update(
            payload={"choices": ["<script>x</script>", "\u202eb"], "logprobs": [-1.0, -2.0]}
        )
        html = self.page(client, weighed)
        assert "<script>x" not in html
        assert "⟦U+202E⟧" in html


class TestReplicates:
    @pytest.fixture
    def drawn(self):
        run = make.RunFactory(state=State.COMPLETED, replicates=2)
        shard = make.ShardFactory(run=run, task="alpha")
        for replicate in (1, 0):
            for position in (0, 1):
                make.SampleResultFactory(
                    shard=shard,
                    position=position,
                    sample_id=f"s{position}",
                    replicate=replicate,
                    flip=["cc", "ci"][replicate],
                )
        return run

    def test_stand_side_by_side_in_the_list(self, client, drawn):
        url = reverse("samples", args=[drawn.public_id])
        rows = client.get(url, {"format": "json"}).json()["samples"]
        found = [(row["position"], row["replicate"]) for row in rows]
        assert found == [(0, 0), (0, 1), (1, 0), (1, 1)]
        html = client.get(url).content.decode()
        assert re.findall(r'<td class="num">(\d)<small class="soft">·(\d)', html) == [
            ("0", "1"), ("0", "2"), ("1", "1"), ("1", "2"),
        ]  # fmt: skip

    def test_lead_to_one_another(self, client, drawn):
        first, second = drawn.results.filter(position=1).order_by("replicate")
        html = client.get(reverse("sample", args=[drawn.public_id, second.pk])).content.decode()
        assert "trajectory 2 of 2" in html
        assert f'href="{reverse("sample", args=[drawn.public_id, first.pk])}"' in html
        assert html.count('aria-current="page"') == 1

    def test_progress_counts_every_one(self, client, drawn):
        drawn.shards.update(size=2, progress_done=3)
        data = client.get(reverse("run", args=[drawn.public_id]), {"format": "json"}).json()
        assert data["progress"] == {"done": 3, "total": 4}
        assert data["shards"][0]["planned"] == 4


def test_a_transcript_says_which_model_spoke(client):
    critic = make.LanguageModelFactory(label="org/big")
    run = make.RunFactory(state=State.COMPLETED, critic_model=critic, evaluator__roles=["critic"])
    result = make.SampleResultFactory(shard=make.ShardFactory(run=run))
    make.NodeFactory(result=result)
    make.NodeFactory(result=result, idx=1, kind="critique", role="critic", round=1)
    url = reverse("sample", args=[run.public_id, result.pk])
    html = client.get(url).content.decode()
    spoken = re.findall(r"· (\w+)<br><bdi>([^<]+)</bdi>", html)
    assert spoken == [("actor", run.model.label), ("critic", "org/big")]
    models = client.get(url, {"format": "json"}).json()["models"]
    assert (models["actor"]["label"], models["critic"]["label"]) == (run.model.label, "org/big")
