"""The board: order, ties, what is missing, filters, exports, and its questions to the database."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from leaderboard.boards.models import Entry
from leaderboard.runs.models import State
from tests.leaderboard import factories as make
from tests.leaderboard.pages.boards import URL, shown, submitted


@pytest.mark.django_db
class TestOrder:
    def test_best_rank_first(self, client, board):
        assert shown(client) == ["delta", "perfect", "alpha", "beta", "gamma"]

    @pytest.mark.parametrize(
        ("sort", "direction", "order"),
        [
            ("acc_last", "desc", ["delta", "perfect", "alpha", "beta", "gamma"]),
            ("acc_last", "asc", ["gamma", "beta", "alpha", "delta", "perfect"]),
            ("delta", "desc", ["gamma", "alpha", "delta", "perfect", "beta"]),
            ("model", "asc", ["alpha", "beta", "delta", "gamma", "perfect"]),
            ("model", "desc", ["perfect", "gamma", "delta", "beta", "alpha"]),
            ("net_flips", "asc", ["beta", "perfect", "delta", "alpha", "gamma"]),
        ],
    )
    def test_sorts_on_the_server(self, client, board, sort, direction, order):
        assert shown(client, sort=sort, dir=direction) == order

    @pytest.mark.parametrize("direction", ["asc", "desc"])
    def test_missing_is_last_both_ways(self, client, board, direction):
        assert shown(client, sort="rss", dir=direction)[-1] == "perfect"

    def test_few_answers_never_stand_on_top(self, client, board):
        """CS of delta is 2 of 2, the highest there is, and rests on two answers."""
        assert shown(client, sort="cs", dir="desc") == [
            "alpha", "gamma", "beta", "delta", "perfect",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "query",
        ["sort=secret", "dir=up", "page=0", "page=x", "format=xml", "suite=none", "page=99"],
    )
    def test_refuses_what_is_not_on_offer(self, client, board, query):
        page = client.get(f"{URL}?{query}")
        assert page.status_code == 400
        assert "Traceback" not in page.content.decode()

    def test_header_says_how_it_is_sorted(self, client, board):
        html = client.get(URL, {"sort": "cl"}).content.decode()
        assert re.findall(r'aria-sort="(\w+)"><a href="([^"]+)"', html) == [
            ("descending", "?sort=cl&amp;dir=asc")
        ]


class TestRanks:
    @pytest.mark.django_db
    def test_ties_share_a_rank(self, client, board):
        rows = client.get(URL, {"format": "json"}).json()["rows"]
        assert [row["rank"] for row in rows] == [1, 1, 3, 4, 4]


@pytest.mark.django_db
class TestFigures:
    def test_every_figure_has_interval_n_and_method(self, client, board):
        html = client.get(URL, {"model": "alpha"}).content.decode()
        row = next(r for r in re.findall(r"<tr>.*?</tr>", html, re.DOTALL) if "alpha</bdi>" in r)
        figures = re.findall(r'<span class="fig [^"]*".*?</span></td>', row, re.DOTALL)
        assert len(figures) == 11
        for figure in figures[:2] + figures[3:7]:
            assert 'class="bounds"' in figure
            assert re.search(r"<span>n \d+</span>, <span>macro</span>", figure)

    def test_denominators_are_those_of_cl_and_cs(self, client, board):
        row = client.get(URL, {"format": "json", "model": "alpha"}).json()["rows"][0]
        assert (row["cl_denominator"], row["cs_denominator"], row["net_flips"]) == (102, 18, 8)
        assert (row["n"], row["n_total"]) == (120, 120)

    def test_a_null_has_its_reason(self, client, board):
        row = client.get(URL, {"format": "json", "model": "perfect"}).json()["rows"][0]
        assert row["rss"] is None
        assert "no answer was wrong at first" in row["rss_reason"]
        assert "NaN" not in client.get(URL).content.decode()

    def test_undecided_differences_are_grey_and_say_so(self, client, board):
        html = client.get(URL, {"model": "beta"}).content.decode()
        assert 'class="note">not significant' in html
        assert (
            'class="note">not significant'
            not in client.get(URL, {"model": "gamma"}).content.decode()
        )

    def test_few_answers_are_marked(self, client, board):
        assert 'class="note">fewer than 10' in client.get(URL, {"model": "delta"}).content.decode()
        assert (
            'class="note">fewer than 10' not in client.get(URL, {"model": "gamma"}).content.decode()
        )


@pytest.mark.django_db
class TestMissing:
    def test_work_not_done_stands_at_the_end_with_its_reason(self, client, board):
        waiting = submitted("org/waiting")
        failed = submitted("org/failed", state=State.FAILED, failure_id="run:user:no-chat-template")
        html = client.get(URL).content.decode()
        assert html.index("gamma") < html.index("failed</bdi>") < html.index("waiting</bdi>")
        assert "the model has no chat template" in html
        for run in (waiting, failed):
            assert reverse("run", args=[run.public_id]) in html

    def test_a_failure_that_was_made_good_is_not_shown(self, client, board):
        failed = submitted("org/late", state=State.FAILED)
        again = make.RunFactory(submission=failed.submission, state=State.COMPLETED)
        make.completed(again)
        assert failed.public_id not in client.get(URL).content.decode()

    def test_what_was_not_run_is_named(self, client, board):
        make.EvaluatorFactory(name="self_refine")
        html = client.get(URL, {"model": "alpha"}).content.decode()
        assert re.search(r"not run: <a [^>]+evaluator=self_refine", html)

    def test_unpublished_runs_are_nowhere(self, client, board):
        run = submitted("org/private", state=State.COMPLETED, published=False)
        make.completed(run)
        assert "private" not in shown(client)


@pytest.mark.django_db
class TestFilters:
    def test_says_how_many_rows_are_hidden(self, client, board):
        html = client.get(URL, {"model": "beta"}).content.decode()
        assert re.search(r"1 result; the filters hide <strong>4</strong> more", html)
        assert "none hidden" in client.get(URL).content.decode()

    def test_filters_by_evaluator_and_class(self, client, board):
        other = make.EvaluatorFactory(name="verify", information="external_feedback")
        make.completed(submitted("org/tool", state=State.COMPLETED, evaluator=other))
        assert shown(client, evaluator="verify") == ["tool"]
        assert shown(client, information="external_feedback") == ["tool"]
        assert len(shown(client, information="intrinsic")) == 5

    def test_ranks_do_not_depend_on_filters(self, client, board):
        rows = client.get(URL, {"format": "json", "model": "gamma"}).json()["rows"]
        assert rows[0]["rank"] == 4

    def test_oracle_results_stand_on_their_own_board(self, client, board):
        cheat = make.EvaluatorFactory(name="peek", information="oracle")
        run = submitted("org/cheat", state=State.COMPLETED, evaluator=cheat, oracle=True)
        make.completed(run)
        assert "cheat" not in shown(client)
        rows = client.get("/oracle/", {"format": "json"}).json()["rows"]
        assert [row["model"] for row in rows] == ["org/cheat"]

    def test_another_suite_is_another_board(self, client, board):
        other = make.SuiteFactory(name="other")
        submission = make.SubmissionFactory(suite=other, model__label="org/else")
        make.completed(make.RunFactory(submission=submission, state=State.COMPLETED))
        assert shown(client, suite="other") == ["else"]
        assert "else" not in shown(client, suite="demo")


@pytest.mark.django_db
class TestExports:
    def test_csv_holds_the_rows_on_screen_in_their_order(self, client, board):
        page = client.get(URL, {"format": "csv", "sort": "model", "model": "a"})
        rows = list(csv.DictReader(io.StringIO(page.content.decode())))
        assert [row["model"] for row in rows] == ["org/alpha", "org/beta", "org/delta", "org/gamma"]
        assert float(rows[0]["acc_last"]) == pytest.approx(110 / 120)
        assert rows[0]["acc_last_method"] == "macro"

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\uff1d", "\uff20"])
    def test_text_never_starts_a_formula(self, client, db, start):
        run = submitted(f"{start}HYPERLINK(1)", state=State.COMPLETED)
        make.completed(run)
        page = client.get(URL, {"format": "csv"})
        row = next(iter(csv.DictReader(io.StringIO(page.content.decode(), newline=""))))
        assert row["model"] == f"'{start}HYPERLINK(1)"
        assert float(row["delta"]) > 0  # numbers are not touched
        label = client.get(URL, {"format": "json"}).json()["rows"][0]["model"]
        assert label == f"{start}HYPERLINK(1)"

    def test_negative_numbers_stay_numbers(self, client, board):
        page = client.get(URL, {"format": "csv", "model": "beta"})
        row = next(iter(csv.DictReader(io.StringIO(page.content.decode()))))
        assert float(row["net_flips"]) == -5

    def test_json_is_json(self, client, board):
        json.loads(client.get(URL, {"format": "json"}).content, parse_constant=pytest.fail)


@pytest.mark.django_db
def test_few_queries_however_many_rows(client, django_assert_max_num_queries, board):
    from django.db import connection

    with CaptureQueriesContext(connection) as small:
        client.get(URL)
    for number in range(60):
        make.completed(submitted(f"org/more-{number}", state=State.COMPLETED))
    client.get(URL)  # fills the cache of ranks
    with django_assert_max_num_queries(15):
        page = client.get(URL)
    assert len(small) <= 15
    assert "page 1 of 2" in page.content.decode()
    assert len(page.content) < 500_000


@pytest.mark.django_db
def test_pages_hold_every_row_once(client, board):
    for number in range(60):
        make.completed(submitted(f"org/more-{number}", state=State.COMPLETED))
    found = shown(client, sort="model", page=1) + shown(client, sort="model", page=2)
    assert len(found) == len(set(found)) == 65
    assert found == sorted(found)


class TestCritics:
    """A row says who criticised, and help from another model is never called intrinsic."""

    @pytest.fixture
    def helped(self, finished):
        critic = make.LanguageModelFactory(label="org/big")
        submission = make.SubmissionFactory(model=finished.model, user=finished.submission.user)
        run = make.RunFactory(
            submission=submission, state=State.COMPLETED, critic_model=critic, replicates=3,
            params={"rounds": 3},
        )  # fmt: skip
        make.completed(run)
        return run

    def rows(self, client, **query):
        return client.get(URL, {"format": "json", **query}).json()["rows"]

    def test_are_named_in_page_and_exports(self, client, helped):
        html = client.get(URL).content.decode()
        assert "3 trajectories each; with critic <bdi>org/big</bdi>" in html
        row = next(row for row in self.rows(client) if row["run"] == helped.public_id)
        assert (row["critic"], row["replicates"]) == ("org/big", 3)
        assert row["critic_id"] == helped.critic_model.public_id

    @pytest.mark.parametrize("information", ["intrinsic", "external_feedback"])
    def test_decide_the_class_of_information(self, client, finished, helped, information):
        wanted = {"intrinsic": finished, "external_feedback": helped}[information]
        (row,) = self.rows(client, information=information)
        assert (row["run"], row["information"]) == (wanted.public_id, information)

    def test_are_named_on_both_models_pages(self, client, helped):
        critic = helped.critic_model
        html = client.get(reverse("model", args=[helped.model.public_id])).content.decode()
        assert "with critic <bdi>org/big</bdi>" in html
        page = client.get(reverse("model", args=[critic.public_id]))
        assert helped.public_id in page.content.decode()
        url = reverse("model", args=[critic.public_id])
        assert client.get(url, {"format": "json"}).json()["as_critic"] == [helped.public_id]

    def test_are_in_the_runs_json(self, client, helped):
        data = client.get(reverse("run", args=[helped.public_id]), {"format": "json"}).json()
        assert data["critic"]["label"] == "org/big"
        assert data["replicates"] == 3


class TestColumns:
    def titles(self, client, **query) -> list[str]:
        html = client.get(URL, query).content.decode()
        return re.findall(r'<th scope="col" class="num"[^>]*><a [^>]+>([^<]+)</a>', html)

    def test_the_usual_ones(self, client, board):
        assert self.titles(client)[:4] == ["Acc@1", "Acc@last", "Over vote", "Δ"]

    def test_are_chosen_in_the_url(self, client, board):
        titles = self.titles(client, column=["over_null_turn", "cl"])
        assert titles == ["Acc@last", "Over empty turn", "CL"]  # the first is never hidden

    def test_links_keep_the_choice(self, client, board):
        html = client.get(f"{URL}?column=cl&column=cs").content.decode()
        assert "?column=cl&amp;column=cs&amp;sort=cl&amp;dir=desc" in html

    @pytest.mark.parametrize("name", ["secret", "over_retry"])
    def test_refuses_what_is_not_on_offer(self, client, board, name):
        assert client.get(URL, {"column": name}).status_code == 400

    def test_the_oracle_board_has_its_own(self, client, board):
        html = client.get(reverse("oracle_board"), {"column": "over_retry"}).content.decode()
        assert 'value="over_retry" checked' in html


class TestSuites:
    def tabs(self, client, name="board", **query) -> tuple[list[str], list[str]]:
        """Return the suites that have a tab, and those that are named as empty."""
        html = client.get(reverse(name), query).content.decode()
        tabs = html.partition('aria-label="Suites">')[2].partition("</ul>")[0]
        full, _, empty = tabs.partition("without results")
        return tuple(re.findall(r">([\w-]+)</a>", part) for part in (full, empty))

    def test_those_without_results_have_no_tab(self, client, board):
        make.SuiteFactory(name="a-first")
        (suite,) = set(Entry.objects.values_list("suite__name", flat=True))
        assert self.tabs(client) == ([suite], ["a-first"])
        assert self.tabs(client, suite="a-first") == (["a-first", suite], [])
        assert self.tabs(client, "oracle_board")[0] == ["a-first"]  # nothing has run there at all

    def test_an_empty_one_says_what_would_fill_it(self, client, board):
        make.SuiteFactory(name="a-first")
        html = client.get(URL, {"suite": "a-first"}).content.decode()
        assert "Nothing has been evaluated on this suite yet." in html
        assert f'href="{reverse("suites")}#a-first"' in html
        assert f'href="{reverse("submit")}?suite=a-first"' in html
        assert "<table" not in html

    def test_opens_where_something_was_submitted(self, client, board):
        """Before anything else has completed, not on what comes first by its name."""
        make.SuiteFactory(name="a-first")
        suite = make.SuiteFactory(name="queued")
        gold = make.EvaluatorFactory(name="retry", information="oracle")
        make.RunFactory(submission=make.SubmissionFactory(suite=suite), evaluator=gold)
        assert self.tabs(client, "oracle_board")[0] == ["queued"]
        assert "retry" in client.get(reverse("oracle_board")).content.decode()


class TestFinishing:
    def test_says_what_is_being_added(self, client, finished):
        assert "being added" not in client.get(URL).content.decode()
        submission = make.SubmissionFactory(user=finished.submission.user)
        make.RunFactory(submission=submission, state=State.COMPLETED)
        html = client.get(URL).content.decode()
        assert "1 run has just finished and is being added." in html
        assert 'hx-trigger="load delay:3s"' in html

    def test_says_nothing_of_other_boards(self, client, finished):
        other = make.SuiteFactory(name="other")
        make.RunFactory(submission__suite=other, state=State.COMPLETED)
        make.RunFactory(state=State.COMPLETED, oracle=True, params={"rounds": 4})
        assert "being added" not in client.get(URL, {"suite": "demo"}).content.decode()
        assert "being added" in client.get(reverse("oracle_board")).content.decode()
