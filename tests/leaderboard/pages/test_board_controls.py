"""The board beside its controls: what as much compute gives without correction."""

from __future__ import annotations

import csv
import io
import re

import pytest

from leaderboard.boards.models import Against, Entry
from leaderboard.runs.models import Run, RunControl, State
from tests.leaderboard import factories as make
from tests.leaderboard.factories import Flips
from tests.leaderboard.pages.boards import FLIPS, URL, shown


class TestControls:
    """Beside a row stands what as much compute gives without correction."""

    OURS = Flips(100, 2, 10, 8)

    @pytest.fixture
    def vote(self):
        return make.EvaluatorFactory(name="self_consistency", controls=[])

    @pytest.fixture
    def held(self, board, vote):
        """Alpha has a vote beside it that is right 80 times; beta one that equals it."""
        found = []
        for label, theirs in (("alpha", Flips(70, 0, 10, 40)), ("beta", Flips(60, 5, 5, 50))):
            entry = Entry.objects.get(model__label=f"org/{label}")
            submission = make.SubmissionFactory(model=entry.model, suite=entry.suite)
            run = make.RunFactory(
                submission=submission, evaluator=vote, params={"samples": 2},
                state=State.COMPLETED, control_only=True,
            )  # fmt: skip
            control = make.completed(run, flips={"sums": theirs})
            ours = FLIPS[f"org/{label}"]
            found.append(make.held(entry, control, ours=ours, theirs=theirs))
        return found

    def cell(self, client, label, **query) -> str:
        html = client.get(URL, {"model": label, "rows": "methods", **query}).content.decode()
        row = next(r for r in re.findall(r"<tr>.*?</tr>", html, re.DOTALL) if 'class="fig' in r)
        return re.findall(r'<td class="num">(.*?)</td>', row, re.DOTALL)[2]

    def test_stand_beside_the_last_accuracy(self, client, held):
        cell = self.cell(client, "alpha")
        assert '<span class="value">+25.0</span>' in cell
        assert "<span>against 66.7</span>, <span>n 120</span>, <span>macro</span>" in cell
        assert "self_consistency@2" in cell  # in the tooltip
        assert 'class="bounds"' in cell

    def test_grey_where_there_may_be_no_gain(self, client, held):
        assert 'class="fig quiet"' in self.cell(client, "beta")
        assert "not significant" in self.cell(client, "beta")

    def test_a_gain_that_holm_takes_away_is_grey(self, client, board):
        """6 to 0 is p = 0.031 by itself, and 0.062 beside another control that says nothing."""
        entry = Entry.objects.get(model__label="org/alpha")
        ours = Flips(0, 0, 56, 64)
        for kind, theirs in (("sc_calls", Flips(0, 0, 50, 70)), ("greedy", ours)):
            submission = make.SubmissionFactory(model=entry.model, suite=entry.suite)
            evaluator = make.EvaluatorFactory(name=f"asked_{kind}", controls=[])
            run = make.RunFactory(
                submission=submission, evaluator=evaluator, state=State.COMPLETED, control_only=True
            )
            control = make.completed(run, flips={"sums": theirs})
            make.held(entry, control, kind, ours=ours, theirs=theirs)
            if kind == "sc_calls":
                assert "p 0.031 (Holm)" in self.cell(client, "alpha")
                assert 'class="fig gain"' in self.cell(client, "alpha")
        cell = self.cell(client, "alpha")
        assert "not significant, p 0.062 (Holm)" in cell
        assert 'class="fig quiet"' in cell
        assert client.get(URL, {"format": "json", "model": "alpha", "rows": "methods"}).json()[
            "rows"
        ][0]["over_sc_calls_p_holm"] == pytest.approx(0.0625)

    def test_one_run_that_is_two_controls_is_corrected_for_once(self, client, held):
        first = held[0]
        before = self.cell(client, "alpha")
        RunControl.objects.create(run=first.entry.run, kind="sc_tokens", control=first.control.run)
        first.pk, first.kind = None, "sc_tokens"
        first.save()
        assert self.cell(client, "alpha") == before

    def test_sorts_by_the_gain_missing_last(self, client, held):
        order = shown(client, sort="over_sc_calls", rows="methods")
        assert order == ["alpha", "beta", "delta", "perfect", "gamma"]
        order = shown(client, sort="over_sc_calls", dir="asc", rows="methods")
        assert order[:2] == ["beta", "alpha"]

    def test_a_gain_over_few_samples_never_stands_on_top(self, client, held):
        Against.objects.filter(pk=held[0].pk).update(n=9)
        assert shown(client, sort="over_sc_calls", rows="methods")[:2] == ["beta", "alpha"]

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"reason": "the runtime lacks chat"}, "the runtime lacks chat"),
            ({"reason": ""}, "the control was deleted"),
        ],
    )
    def test_a_missing_one_says_why(self, client, board, fields, words):
        entry = Entry.objects.get(model__label="org/gamma")
        RunControl.objects.create(run=entry.run, kind="sc_calls", **fields)
        cell = self.cell(client, "gamma")
        assert '<span class="value">–</span>' in cell
        assert words in cell

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            ("QUEUED", "control queued"),
            ("FAILED", "control failed"),
            ("COMPLETED", "being compared"),
        ],
    )
    def test_so_does_one_that_is_not_done(self, client, board, vote, state, words):
        entry = Entry.objects.get(model__label="org/gamma")
        run = make.RunFactory(submission=entry.run.submission, evaluator=vote, state=state)
        RunControl.objects.create(run=entry.run, kind="sc_calls", control=run)
        assert words in self.cell(client, "gamma")

    def test_one_that_is_not_public_is_not_told(self, client, held):
        Run.objects.filter(pk=held[0].control.run_id).update(published=False)
        cell = self.cell(client, "alpha")
        assert "the control is not public" in cell
        assert "25.0" not in cell

    def test_nobody_asked(self, client, board):
        assert "not asked for" in self.cell(client, "gamma")

    def test_mere_controls_are_marked_and_can_be_left_out(self, client, held):
        html = client.get(URL).content.decode()
        assert html.count(">control</span>") == 2
        assert len(shown(client)) == 7
        assert len(shown(client, rows="methods")) == 5
        assert shown(client, rows="controls") == ["alpha", "beta"]
        html = client.get(URL, {"rows": "methods"}).content.decode()
        assert "the filters hide <strong>2</strong> more" in html

    def test_are_in_exports(self, client, held):
        row = client.get(URL, {"format": "json", "model": "alpha", "rows": "methods"}).json()[
            "rows"
        ][0]
        assert row["over_sc_calls"] == pytest.approx(0.25)
        assert row["over_sc_calls_control"] == pytest.approx(80 / 120)
        assert (row["over_sc_calls_n"], row["over_sc_calls_run"]) == (
            120, held[0].control.run.public_id,
        )  # fmt: skip
        page = client.get(URL, {"format": "csv", "model": "alpha", "rows": "methods"})
        (row,) = csv.DictReader(io.StringIO(page.content.decode()))
        assert float(row["over_sc_calls"]) == pytest.approx(0.25)
        assert row["over_greedy"] == ""

    def test_cost_a_bounded_number_of_queries(self, client, held, django_assert_max_num_queries):
        client.get(URL)
        with django_assert_max_num_queries(15):
            client.get(URL, {"sort": "over_sc_calls"})
