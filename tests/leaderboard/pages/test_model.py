"""The model page: decomposition, flips that lead to samples, and the way to repeat a run."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pytest
from django.urls import reverse

from evaluators.metrics import decompose, null
from evaluators.runtimes import parse_model_args
from leaderboard.boards.rows import reproduce_command
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.runs.models import State
from tests.leaderboard import factories as make
from tests.leaderboard.factories import Flips

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
    assert words.pop() == "--no-controls"
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert options["--suite"] == "demo"
    assert options["--param"] == "rounds=1"
    assert parse_model_args(options["--model-args"]) == finished.model.args


def test_the_command_has_controls_where_the_run_has(finished):
    finished.with_controls = True
    assert "--no-controls" not in reproduce_command(finished)


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


class TestMethods:
    """All that was done with a model stands side by side, and against its controls."""

    @pytest.fixture
    def beside(self, finished):
        """The method of `finished`, right 30 of 40 times, and a vote that is right 24 times."""
        vote = make.EvaluatorFactory(name="self_consistency", controls=[])
        submission = make.SubmissionFactory(model=finished.model, suite=finished.suite)
        run = make.RunFactory(
            submission=submission, evaluator=vote, params={"samples": 2}, state=State.COMPLETED,
            control_only=True,
        )  # fmt: skip
        theirs = Flips(20, 0, 4, 16)
        control = make.completed(run, flips={"sums": theirs})
        return make.held(finished.entry, control, ours=Flips(), theirs=theirs)

    def table(self, client, run, label) -> str:
        html = page(client, run)
        start = html.index(f'aria-label="{label} on {run.suite.name}')
        return html[start : html.index("</table>", start)]

    def test_stand_in_one_table(self, client, finished, beside):
        table = self.table(client, finished, "Methods").replace("<wbr>", "")
        rows = re.findall(r'<a href="[^"]*#(run_\w+)"><bdi>(\w+)</bdi>', table)
        assert rows == [
            (finished.public_id, "reask"), (beside.control.run.public_id, "self_consistency"),
        ]  # fmt: skip
        assert table.count('class="fig') == 18
        assert ">control</span>" in table
        assert table.count('<span class="tag">intrinsic</span>') == 2

    def test_code_that_is_gone_is_marked(self, client, finished, beside):
        tag = ">not installed</span>"
        assert tag not in self.table(client, finished, "Methods")
        EvaluatorVersion.objects.filter(pk=finished.evaluator_id).update(installed=False)
        assert self.table(client, finished, "Methods").count(tag) == 1

    def test_each_control_with_difference_interval_and_n(self, client, finished, beside):
        table = self.table(client, finished, "Gains over controls")
        assert "Vote at the same calls" in table
        assert '<span class="value">+15.0</span>' in table
        assert "<span>against 60.0</span>, <span>n 40</span>, <span>macro</span>" in table
        control = beside.control.run.public_id
        link = f"{reverse('compare')}?run={control}&amp;run={finished.public_id}"
        assert f'href="{link}">self_consistency@2</a>' in table
        assert "2.0 calls against 2.0" in table
        assert "tokens against" in table

    def test_a_control_is_shown_task_by_task_on_demand(self, client, finished, beside):
        control = beside.control.run.public_id
        table = self.table(client, finished, "Methods")
        assert f'href="#{finished.public_id}"' in table
        assert f'href="?method={control}#{control}"' in table
        html = page(client, finished)
        assert (f'id="{finished.public_id}"' in html, f'id="{control}"' in html) == (True, False)
        url = reverse("model", args=[finished.model.public_id])
        html = client.get(url, {"method": control}).content.decode()
        assert (f'id="{finished.public_id}"' in html, f'id="{control}"' in html) == (False, True)
        assert client.get(url, {"method": "nope"}).status_code == 200

    def test_a_model_of_many_methods_keeps_a_small_page(self, client, finished, beside):
        found = decompose(Flips().trajectories("sums"))
        by_task = {f"task-{number}": replace(found, task=f"task-{number}") for number in range(6)}
        submission = make.SubmissionFactory(model=finished.model, suite=finished.suite)
        for number in range(48):
            run = make.RunFactory(
                submission=submission, params={"rounds": number + 2}, state=State.COMPLETED,
                control_only=number % 2,
            )  # fmt: skip
            make.entry_of(run, by_task)
        url = reverse("model", args=[finished.model.public_id])
        html = client.get(url).content.decode()
        assert len(html.encode()) < 500_000
        assert html.count(" by task") < 8
        assert "25 mere controls are left out" in html
        assert "mere controls" not in client.get(url, {"controls": "all"}).content.decode()
        assert len(client.get(url, {"format": "json"}).json()["results"]) == 50

    def test_figures_of_verdicts_where_there_are_some(self, client, finished):
        assert "What they say of answers" not in page(client, finished)
        entry = finished.entry
        estimate = entry.estimates["acc@1"]
        entry.estimates |= {"verdict_acc": estimate, "error_recall": null("none").to_json()}
        entry.save()
        table = self.table(client, finished, "Verdicts")
        assert table.count('<th scope="col" class="num"') == 1
        assert "Verdict acc" in table

    def test_are_data_too(self, client, finished, beside):
        url = reverse("model", args=[finished.model.public_id])
        results = client.get(url, {"format": "json"}).json()["results"]
        (against,) = next(r for r in results if r["run"] == finished.public_id)["against"]
        assert (against["kind"], against["control"]) == ("sc_calls", "self_consistency@2")
        assert against["run"] == beside.control.run.public_id
        assert against["difference"]["value"] == pytest.approx(0.15)
        p = beside.estimates["significance"]["p"]
        assert 0 < p < 1
        assert (against["p"], against["p_holm"]) == (p, p)  # one control: nothing to correct

    def test_few_queries_however_many(
        self, client, finished, beside, django_assert_max_num_queries
    ):
        for number in range(2, 12):
            submission = make.SubmissionFactory(model=finished.model, suite=finished.suite)
            run = make.RunFactory(
                submission=submission, params={"rounds": number}, state=State.COMPLETED
            )
            entry = make.completed(run)
            make.held(entry, beside.control, ours=Flips(), theirs=Flips(20, 0, 4, 16))
        with django_assert_max_num_queries(10):
            page(client, finished)
