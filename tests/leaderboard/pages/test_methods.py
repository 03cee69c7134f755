"""Method pages: the list, and a card with its paper, turns, prompts and published figures."""

from __future__ import annotations

import pytest
from django.urls import reverse

from evaluators.cards import inspect_evaluator
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.catalog.services import record_plugins
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def card():
    """What a look at an installed plugin, in a process of its own, brings back."""
    return inspect_evaluator("self_refine")


@pytest.fixture
def recorded(card):
    record_plugins([card])
    return EvaluatorVersion.objects.get(name="self_refine")


def page(client, name, **query) -> str:
    return client.get(reverse("method", args=[name]), query).content.decode()


class TestCards:
    def test_are_kept_as_data(self, recorded, card):
        assert recorded.card == card.card
        assert recorded.source == "2303.17651"
        assert recorded.controls == ["greedy", "sc_calls", "sc_tokens", "best_of_n", "null_turn"]

    def test_a_second_look_brings_them_to_rows_that_had_none(self, recorded, card):
        EvaluatorVersion.objects.update(card={}, source="", controls=[])
        record_plugins([card])
        recorded.refresh_from_db()
        assert (recorded.card, recorded.source) == (card.card, "2303.17651")

    def test_say_after_whom_and_at_what_cost(self, client, recorded):
        html = page(client, "self_refine")
        assert "Self-Refine: Iterative Refinement with Self-Feedback" in html
        assert 'href="https://arxiv.org/abs/2303.17651"' in html
        assert "1 + 2 * max_attempts at most" in html
        assert "one greedy answer; vote at the same calls" in html
        assert "feedback and refinement are two calls" in html

    def test_draw_the_turns(self, client, recorded):
        html = page(client, "self_refine")
        assert html.count("<svg") == 1
        assert '<g class="turn turn-critique">' in html
        assert "The same in words" in html

    def test_print_prompts_with_their_hashes(self, client, recorded):
        html = page(client, "self_refine")
        for prompt in recorded.card["prompts"]:
            assert f"sha256 <code>{prompt['digest']}</code>" in html
            assert f"<code>{prompt['name']}</code>" in html

    def test_print_published_figures_with_their_source(self, client, recorded):
        html = page(client, "self_refine")
        assert "GPT-3.5, GSM8K" in html
        assert '<td class="num">76.35</td>' in html
        assert 'href="https://arxiv.org/abs/2501.01264"' in html
        assert ">unverified</span>" in html

    def test_are_data_too(self, client, recorded):
        data = client.get(reverse("method", args=["self_refine"]), {"format": "json"}).json()
        assert data["card"] == recorded.card
        assert (data["source"], data["calls"]) == ("2303.17651", "1 + 2 * max_attempts at most")


class TestList:
    def test_names_every_method_once_in_its_part(self, client, recorded):
        make.EvaluatorFactory(name="single_pass", controls=[])
        make.EvaluatorFactory(name="peek", information="oracle")
        make.EvaluatorFactory(name="gone", installed=False)
        make.EvaluatorFactory(name="bad", problem="ImportError: no tea")
        html = client.get(reverse("methods")).content.decode()
        order = [
            html.index(f"<bdi>{name}</bdi>") for name in ("self_refine", "peek", "single_pass")
        ]
        assert order == sorted(order)
        assert "ImportError: no tea" in html
        assert 'class="state bad">not installed' in html
        for name in ("self_refine", "single_pass", "peek", "gone", "bad"):
            assert html.count(f"<bdi>{name}</bdi>") == 1

    def test_links_papers_and_tells_calls(self, client, recorded):
        html = client.get(reverse("methods")).content.decode()
        assert 'href="https://arxiv.org/abs/2303.17651"' in html
        assert "1 + 2 * max_attempts at most" in html
        (row,) = client.get(reverse("methods"), {"format": "json"}).json()["methods"]
        assert (row["name"], row["title"][:11]) == ("self_refine", "Self-Refine")

    def test_few_queries(self, client, recorded, django_assert_max_num_queries):
        for number in range(30):
            make.EvaluatorFactory(name=f"more_{number}")
        with django_assert_max_num_queries(2):
            client.get(reverse("methods"))

    def test_former_addresses_lead_here(self, client, recorded):
        assert client.get("/evaluators/").url == reverse("methods")
        assert client.get("/evaluators/self_refine/").url == reverse("method", args=["self_refine"])


class TestHostileCards:
    CARD = {
        "title": "<script>alert(1)</script>",
        "url": "javascript:alert(1)",
        "published": [
            {"setting": "<b>x</b>", "figures": {"acc": 1.0}, "source": "javascript:alert(1)"}
        ],
        "prompts": [
            {"name": "<i>p</i>", "digest": "ab", "placeholders": [], "text": "\u202eX</pre>"}
        ],
        "outline": ["<u>1</u>"],
    }
    TEXT = "</text><script>alert(2)</script>\u202e"

    def test_are_text(self, client, card):
        turns = [{**turn, "text": self.TEXT} for turn in card.card["turns"]]
        evil = {**self.CARD, "turns": turns, "diagram": "<script>alert(3)</script>"}
        make.EvaluatorFactory(name="evil", card=evil, source="2303.17651</a>")
        html = page(client, "evil")
        assert "<script>alert" not in html
        assert 'href="javascript' not in html
        assert "<b>x</b>" not in html
        assert "\u202e" not in html
        assert "<svg" in html

    def test_turns_of_another_release_are_not_drawn(self, client):
        make.EvaluatorFactory(name="old", card={"turns": [{"idx": 0}]})
        assert "<svg" not in page(client, "old")
