"""The form's models: endpoints with their keys, another model as critic, replicates, needs."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from evaluators.registry import load_evaluator
from leaderboard.catalog.keys import secret_of, store_key
from leaderboard.catalog.models import EndpointKey, EvaluatorVersion, LanguageModel
from leaderboard.catalog.services import sync_suites
from leaderboard.runs.models import Run
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db

CANARY = "sk-canary-0123456789abcdef"
URL = "http://localhost:8000/v1"


@pytest.fixture(autouse=True)
def catalogue(db, settings):
    settings.REDRAFT_ENDPOINT_ALLOW = ["localhost:8000"]
    modes = ["generate_until", "generative"]
    for name, roles in (("reask", []), ("review_improve", ["critic"])):
        make.EvaluatorFactory(
            name=name, schema=load_evaluator(name).schema(), roles=roles, modes=modes
        )
    sync_suites()


@pytest.fixture
def client(sign_in, owner):
    return sign_in(owner)


def form(**changes: object) -> dict[str, object]:
    return {
        "source": "bundled", "bundled": "", "runtime": "echo", "model_class": "echo", "args": "",
        "batch_size": "8", "suite": "demo", "limit": "4", "seed": "0", "evaluators": ["reask"],
    } | changes  # fmt: skip


def endpoint(**changes: object) -> dict[str, object]:
    return form(
        source="endpoint", runtime="lm-eval", endpoint_url=URL, endpoint_model="tiny",
        endpoint_key=CANARY, endpoint_concurrency="4",
    ) | changes  # fmt: skip


def critic(**changes: object) -> dict[str, object]:
    more = {"source": "bundled", "runtime": "echo", "model_class": "echo", "args": "delay=0.5"}
    named = {f"critic-{key}": value for key, value in more.items()}
    return form(evaluators=["review_improve"]) | named | changes


def post(client, data: dict[str, object]):
    return client.post(reverse("submit"), data)


def errors(page) -> list[str]:
    return re.findall(r'<p class="error" id="id_([^"]+)_error">', page.content.decode())


class TestEndpoints:
    def test_makes_a_run_with_the_owners_key(self, client, owner):
        assert post(client, endpoint()).status_code == 302
        run = Run.objects.get()
        assert (run.model.source, run.model.owner, run.model.batch_size) == ("endpoint", owner, 4)
        assert secret_of(run.model_id) == CANARY
        assert set(run.shards.values_list("hardware", flat=True)) == {"endpoint"}

    def test_takes_the_stored_key_where_none_is_typed(self, client, owner):
        store_key(user=owner, origin="http://localhost:8000", secret=CANARY)
        html = client.get(reverse("submit")).content.decode()
        assert "use the one you stored for http://localhost:8000" in html
        post(client, endpoint(endpoint_key=""))
        assert secret_of(Run.objects.get().model_id) == CANARY

    @pytest.mark.parametrize(
        ("changes", "fields", "words"),
        [
            ({"endpoint_url": ""}, ["endpoint_url"], "Give the URL"),
            ({"endpoint_model": ""}, ["endpoint_model"], "as the endpoint knows it"),
            ({"endpoint_url": "http://10.0.0.1/v1"}, ["endpoint_url"], "it must be https"),
            ({"endpoint_url": "https://10.0.0.1/v1"}, ["endpoint_url"], "not a public address"),
            ({"endpoint_key": "two words"}, ["endpoint_key"], "one word"),
            ({"endpoint_concurrency": "0"}, ["endpoint_concurrency"], "greater than or equal"),
            ({"endpoint_model": "a\u202eb"}, ["endpoint_model"], "cannot be seen"),
            ({"args": "no_such_option=1"}, [], "no argument"),
            ({"args": "api_key=x"}, [], "would be public"),
            ({"p-reask-rounds": "0"}, ["p-reask-rounds"], "greater than or equal"),
            ({"seed": "-1"}, ["seed"], "greater than or equal"),
        ],
    )
    def test_refuses_and_keeps_nothing(self, client, changes, fields, words):
        page = post(client, endpoint(**changes))
        assert page.status_code == 422
        assert errors(page) == fields
        assert words in page.content.decode()
        assert CANARY not in page.content.decode()
        assert not LanguageModel.objects.exists()
        assert not EndpointKey.objects.exists()

    def test_a_refusal_of_the_suite_takes_the_key_back(self, client):
        EvaluatorVersion.objects.filter(installed=True).update(modes=["likelihood"])
        page = post(client, endpoint())
        assert errors(page) == ["suite"]
        assert "works on likelihoods of choices" in page.content.decode()
        assert not EndpointKey.objects.exists()
        assert not LanguageModel.objects.exists()

    def test_is_no_runtime_of_other_sources(self, client):
        html = client.get(reverse("submit")).content.decode()
        runtimes = re.search(r'<select name="runtime".*?</select>', html, re.DOTALL).group()
        assert 'value="endpoint"' not in runtimes
        assert errors(post(client, form(runtime="endpoint"))) == ["bundled", "runtime"]


class TestJudges:
    @pytest.fixture
    def judge(self):
        make.EvaluatorFactory(name="ask_refine_trust", roles=["critic", "judge"], schema={})
        more = {"source": "bundled", "runtime": "echo", "model_class": "echo", "args": "delay=0.5"}
        named = {f"judge-{key}": value for key, value in more.items()}
        return form(evaluators=["ask_refine_trust"]) | named

    def test_is_recorded_with_the_run(self, client, judge):
        assert post(client, judge).status_code == 302
        run = Run.objects.get()
        assert (run.judge_model.args, run.critic_model) == ({"delay": 0.5}, None)
        html = client.get(reverse("run", args=[run.public_id])).content.decode()
        assert "with judge <bdi>" in html
        data = client.get(reverse("run", args=[run.public_id]), {"format": "json"}).json()
        assert data["judge"]["id"] == run.judge_model.public_id

    def test_refuses_beside_the_field(self, client, judge):
        page = post(client, judge | {"evaluators": ["review_improve"]})
        assert errors(page) == ["judge-source"]
        assert "asks a judge; ask_refine_trust does" in page.content.decode()
        assert not Run.objects.exists()

    def test_is_named_where_it_is_asked(self, client, judge):
        html = client.get(reverse("submit")).content.decode()
        assert "Who judges" in html
        assert "asks a judge" in html[html.index('value="ask_refine_trust"') :]


class TestCritics:
    def test_is_recorded_with_the_run(self, client):
        assert post(client, critic()).status_code == 302
        run = Run.objects.get()
        assert run.critic_model.args == {"delay": 0.5}
        assert run.submission.critic_model == run.critic_model

    def test_may_be_an_endpoint(self, client):
        wish = {"critic-source": "endpoint", "critic-endpoint_url": URL,
                "critic-endpoint_model": "judge", "critic-endpoint_key": CANARY,
                "critic-args": ""}  # fmt: skip
        assert post(client, critic(**wish)).status_code == 302
        assert secret_of(Run.objects.get().critic_model_id) == CANARY

    def test_is_left_out_by_default(self, client):
        post(client, form(evaluators=["review_improve"]))
        assert Run.objects.get().critic_model is None

    @pytest.mark.parametrize(
        ("changes", "fields"),
        [
            ({"evaluators": ["reask"]}, ["critic-source"]),
            ({"critic-source": "hub"}, ["critic-repository"]),
            ({"critic-source": "endpoint"}, ["critic-endpoint_url", "critic-endpoint_model"]),
            ({"critic-source": "local"}, ["critic-source"]),
            ({"critic-args": "=broken"}, ["critic-args"]),
        ],
    )
    def test_refuses_beside_the_field(self, client, changes, fields):
        page = post(client, critic(**changes))
        assert (page.status_code, errors(page)) == (422, fields)
        assert not Run.objects.exists()
        assert not LanguageModel.objects.exists()


class TestReplicates:
    def test_are_recorded(self, client):
        post(client, form(replicates="3"))
        assert Run.objects.get().replicates == 3

    @pytest.mark.parametrize("number", ["0", "65", "many"])
    def test_refuses_beside_the_field(self, client, number):
        assert errors(post(client, form(replicates=number))) == ["replicates"]


class TestNeeds:
    def test_stand_beside_the_evaluator(self, client):
        make.EvaluatorFactory(
            name="weigh", requires=["echo", "of-the-future"], modes=["likelihood"], version="9"
        )
        html = client.get(reverse("submit")).content.decode()
        part = html[html.index('value="weigh"') :]
        assert (
            'title="the log-probability of a given text, summed over its tokens">needs echo' in part
        )
        assert 'title="unknown to this version">needs of-the-future' in part
        assert "for likelihoods of choices" in part
        assert "asks a critic" in html[html.index('value="review_improve"') :]

    def test_are_explained_on_the_evaluators_page(self, client):
        make.EvaluatorFactory(name="weigh", requires=["echo"], modes=["likelihood"], version="9")
        html = client.get(reverse("method", args=["weigh"])).content.decode()
        assert "the log-probability of a given text" in html
        assert "<dd>likelihoods of choices</dd>" in html
        html = client.get(reverse("method", args=["review_improve"])).content.decode()
        assert "asks a critic: the model itself, or another one" in html


class TestKeys:
    def test_are_listed_without_being_shown(self, client, owner):
        key = store_key(user=owner, origin="https://host:443", secret=CANARY)
        html = client.get(reverse("keys")).content.decode()
        assert "••••cdef" in html
        assert CANARY not in html
        assert key.token not in html

    def test_of_others_are_not(self, client, stranger):
        store_key(user=stranger, origin="https://theirs:443", secret=CANARY)
        assert "theirs" not in client.get(reverse("keys")).content.decode()

    def test_says_what_deleting_breaks(self, client):
        post(client, endpoint())
        html = client.get(reverse("keys")).content.decode()
        assert "then it fails" in html
        key = EndpointKey.objects.get()
        page = client.post(reverse("key_delete", args=[key.public_id]), follow=True)
        assert "The key for http://localhost:8000 is deleted." in page.content.decode()
        assert not EndpointKey.objects.exists()
        assert Run.objects.exists()
