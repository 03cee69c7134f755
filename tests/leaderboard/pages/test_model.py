"""The model page: decomposition, flips that lead to samples, and the way to repeat a run."""

from __future__ import annotations

import re
import shlex

import pytest
from django.urls import reverse

from evaluators.runtimes import parse_model_args
from leaderboard.boards.rows import reproduce_command
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db


def page(client, run) -> str:
    return client.get(reverse("model", args=[run.model.public_id])).content.decode()


def test_cells_lead_to_their_samples(client, finished):
    html = page(client, finished)
    links = dict(re.findall(r'samples/\?task=sums&amp;flip=(\w\w)">(\d+)</a>', html))
    assert links == {"cc": "20", "ci": "4", "ic": "10", "ii": "6"}
    assert "3 changed, 3 unchanged" in html


def test_shows_the_test_and_its_p(client, finished):
    assert re.search(r"<td>0\.180 \(mcnemar exact\)</td>", page(client, finished))


def test_the_command_repeats_the_run(client, finished):
    words = shlex.split(reproduce_command(finished))
    assert words[:5] == ["python", "-m", "evaluators", "run", "reask"]
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert options["--suite"] == "demo"
    assert options["--param"] == "rounds=1"
    assert parse_model_args(options["--model-args"]) == finished.model.args


def test_awkward_arguments_survive_the_command(finished):
    finished.model.args = {"pretrained": "a b,c", "dtype": "float32", "x": {"y": [1]}}
    words = shlex.split(reproduce_command(finished))
    assert parse_model_args(words[words.index("--model-args") + 1]) == finished.model.args


def test_paths_of_the_server_are_for_staff(client, sign_in, staff, finished):
    finished.model.source, finished.model.location = "local", "/srv/secret"
    finished.model.args = {"pretrained": "/srv/secret"}
    finished.model.save()
    assert "/srv/secret" not in page(client, finished)
    url = reverse("model", args=[finished.model.public_id])
    assert "/srv/secret" not in client.get(url, {"format": "json"}).content.decode()
    assert "/srv/secret" in page(sign_in(staff), finished)


def test_json_holds_the_stored_estimates(client, finished):
    url = reverse("model", args=[finished.model.public_id])
    result = client.get(url, {"format": "json"}).json()["results"][0]
    assert result["tasks"]["sums"]["cells"] == {"cc": 20, "ci": 4, "ic": 10, "ii": 6}
    assert result["macro"] == finished.entry.estimates


def test_says_that_nothing_is_complete(client, running):
    assert "No run of this model has completed yet" in page(client, running)


def test_unknown_models_are_not_found(client):
    make.LanguageModelFactory()
    assert client.get(reverse("model", args=["model_none"])).status_code == 404
