"""The submission form: fields from signatures, mistakes beside their fields, no script needed."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from evaluators.registry import load_evaluator
from leaderboard.catalog.models import LanguageModel, Suite
from leaderboard.catalog.schema import parameters
from leaderboard.catalog.services import sync_suites
from leaderboard.runs.models import Run, Submission
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue(db):
    for name in ("reask", "self_refine"):
        make.EvaluatorFactory(name=name, schema=load_evaluator(name).schema())
    sync_suites()


@pytest.fixture
def client(sign_in, owner):
    return sign_in(owner)


def form(**changes: object) -> dict[str, object]:
    """What a browser sends for the form as it comes, on the runtime that needs no weights."""
    return {
        "source": "bundled", "bundled": "", "repository": "", "revision": "", "suite": "demo",
        "limit": "4", "seed": "0", "runtime": "echo", "model_class": "echo", "args": "",
        "batch_size": "8", "evaluators": ["reask"], "p-reask-rounds": "2",
    } | changes  # fmt: skip


def post(client, **changes: object):
    return client.post(reverse("submit"), form(**changes))


def errors(page) -> list[str]:
    return re.findall(r'<p class="error" id="id_([^"]+)_error">', page.content.decode())


class TestAccepts:
    def test_makes_a_submission_and_goes_there(self, client, catalogue):
        page = post(client)
        run = Run.objects.get()
        assert page.status_code == 302
        assert page["Location"] == reverse("submission", args=[run.submission.public_id])
        assert (run.evaluator.name, run.params["rounds"], run.limit) == ("reask", 2, 4)

    @pytest.mark.parametrize(("ticked", "wanted"), [({"controls": "on"}, True), ({}, False)])
    def test_controls_are_a_tick(self, client, catalogue, ticked, wanted):
        assert re.search(
            r'name="controls"[^>]*checked', client.get(reverse("submit")).content.decode()
        )
        post(client, **ticked)
        assert Run.objects.get().with_controls is wanted

    def test_parameters_of_what_is_not_chosen_do_not_matter(self, client, catalogue):
        page = post(client, **{"p-self_refine-max_attempts": "nonsense"})
        assert page.status_code == 302

    def test_the_same_again_leads_to_the_run_that_exists(self, client, catalogue):
        post(client)
        page = client.post(reverse("submit"), form(), follow=True)
        assert page.redirect_chain == [(reverse("run", args=[Run.objects.get().public_id]), 302)]
        assert "Already there, so not run again" in page.content.decode()
        assert Submission.objects.count() == 1


class TestRefuses:
    @pytest.mark.parametrize(
        ("changes", "fields"),
        [
            ({"p-reask-rounds": "0"}, ["p-reask-rounds"]),
            ({"p-reask-rounds": "many"}, ["p-reask-rounds"]),
            ({"source": "hub"}, ["repository"]),
            ({"source": "hub", "repository": "no slash"}, ["repository"]),
            ({"runtime": "lm-eval"}, ["bundled"]),
            ({"limit": "0"}, ["limit"]),
            ({"seed": "-1"}, ["seed"]),
            ({"batch_size": ""}, ["batch_size"]),
            ({"args": "=broken"}, ["args"]),
            ({"args": "trust_remote_code=True"}, ["args"]),
            ({"suite": "none"}, ["suite"]),
            ({"limit": "x", "seed": "y"}, ["limit", "seed"]),
        ],
    )
    def test_refuses_beside_the_field(self, client, catalogue, changes, fields):
        page = post(client, **changes)
        assert page.status_code == 422
        assert errors(page) == fields
        assert not Run.objects.exists()
        assert not LanguageModel.objects.exists()

    def test_refuses_no_evaluator(self, client, catalogue):
        page = post(client, evaluators=[])
        assert "Choose at least one evaluator" in page.content.decode()

    def test_refuses_a_path_from_those_who_may_not(self, client, catalogue):
        assert "path" not in client.get(reverse("submit")).context["form"].fields
        assert errors(post(client, source="local", path="/etc")) == ["source"]

    def test_staff_may_name_paths(self, sign_in, staff, catalogue):
        page = post(sign_in(staff), source="local", path="relative", runtime="lm-eval")
        assert "absolute path" in page.content.decode()

    def test_refuses_evaluators_that_are_broken_or_gone(self, client, catalogue):
        make.EvaluatorFactory(name="sad", problem="No module named 'x'", version="9")
        make.EvaluatorFactory(name="gone", installed=False, version="9")
        html = client.get(reverse("submit")).content.decode()
        for name, reason in (("sad", "No module named"), ("gone", "not installed any more")):
            assert re.search(rf'value="{name}" disabled', html)
            assert reason in html
            assert post(client, evaluators=[name]).status_code == 422

    def test_keeps_what_was_typed(self, client, catalogue):
        html = post(client, seed="-1", limit="17").content.decode()
        assert 'name="limit" value="17"' in html
        assert re.search(r'value="reask" checked', html)
        assert 'name="p-reask-rounds" value="2"' in html


def test_offers_every_suite_and_presets_an_evaluator(client, catalogue):
    html = client.get(reverse("submit"), {"evaluator": "reask"}).content.decode()
    for suite in Suite.objects.filter(current=True):
        assert f'<option value="{suite.name}"' in html
    assert re.findall(r'value="(\w+)" checked', html) == ["reask"]
    assert '<option value="" selected>choose one</option>' in html  # no suite is anybody's default


def test_a_link_presets_the_suite(client, catalogue):
    suite = Suite.objects.filter(current=True)[0].name
    html = client.get(reverse("submit"), {"suite": suite}).content.decode()
    assert f'<option value="{suite}" selected>' in html
    assert client.get(reverse("submit"), {"suite": "nope"}).status_code == 200


SCHEMA = {
    "required": ["must"],
    "$defs": {"Mode": {"enum": ["fast", "slow"], "type": "string"}},
    "properties": {
        "must": {"type": "string"},
        "rounds": {"type": "integer", "minimum": 1, "maximum": 4, "default": 2},
        "heat": {"type": "number", "exclusiveMinimum": 0, "default": 0.5},
        "loud": {"type": "boolean", "default": False},
        "mode": {"$ref": "#/$defs/Mode", "default": "fast"},
        "cap": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "words": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
    },
}


class TestSchema:
    def test_reads_every_kind(self):
        assert [(p.name, p.kind, p.nullable) for p in parameters(SCHEMA)] == [
            ("must", "text", False), ("rounds", "integer", False), ("heat", "number", False),
            ("loud", "boolean", False), ("mode", "choice", False), ("cap", "integer", True),
            ("words", "json", False),
        ]  # fmt: skip

    def test_says_ranges_in_words(self):
        ranges = {p.name: p.range for p in parameters(SCHEMA)}
        assert ranges["rounds"] == "≥ 1, ≤ 4"
        assert ranges["heat"] == "> 0"
        assert ranges["mode"] == "fast, slow"

    def test_becomes_fields(self, client, catalogue):
        make.EvaluatorFactory(name="every", schema=SCHEMA, version="9")
        html = client.get(reverse("submit")).content.decode()
        rounds = re.search(r'<input type="number" name="p-every-rounds"[^>]*>', html).group()
        assert 'min="1"' in rounds
        assert 'max="4"' in rounds
        assert 'value="2"' in rounds
        assert re.search(r'<input type="checkbox" name="p-every-loud"', html)
        assert re.search(r'<select name="p-every-mode"', html)
        assert re.search(r'<input type="text" name="p-every-must"', html)
