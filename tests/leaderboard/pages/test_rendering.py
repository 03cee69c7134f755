"""Hostile text: nothing of it runs, nothing of it hides, pages stay small."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.core.rendering import (
    Figure,
    breakable,
    cell,
    name,
    output,
    preview,
    prose,
    visible,
    visible_line,
)
from leaderboard.runs.models import State
from tests.leaderboard import factories as make

INVISIBLE = [
    *range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x200B,
    0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xE0041,
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></bdi><svg onload=alert(1)>",
    "{{ 7|add:7 }}{% load static %}",
    "javascript:alert(1)",
    "&lt;script&gt;",
    "\u202egnp.exe\u202c",
]


class TestVisible:
    @pytest.mark.parametrize("code", INVISIBLE)
    def test_spells_out(self, code):
        assert visible(f"a{chr(code)}b") == f"a⟦U+{code:04X}⟧b"

    def test_keeps_what_can_be_seen(self):
        text = "é ü 漢字 عربي\n\tx = 1\r\n🙂"
        assert visible(text) == text

    def test_counts_long_runs(self):
        assert visible("\0" * 4096) == "⟦U+0000 ×4096⟧"
        assert visible("\u200b\u200b") == "⟦U+200B⟧⟦U+200B⟧"

    def test_a_name_has_one_line_and_one_form(self):
        assert visible_line("a\nb") == "a⟦U+000A⟧b"
        assert visible_line("\uff4f\uff52\uff47") == "org"

    @given(st.text())
    def test_no_markup_survives(self, text):
        inside = output(text).removeprefix("<bdi>").removesuffix("</bdi>")
        plain = re.sub(r'<span class="codepoint">⟦U\+[0-9A-F]+( ×\d+)?⟧</span>', "", inside)
        assert "<" not in plain
        assert ">" not in plain


class TestPreview:
    def test_cuts_at_bytes_between_characters(self):
        shown = preview("é" * 3000)
        assert (len(shown.text), shown.cut, shown.bytes) == (2048, True, 6000)

    def test_leaves_short_text_alone(self):
        assert preview("short").cut is False


def test_a_figure_escapes_its_words():
    assert "<b>" not in cell(Figure("<b>", note="<b>", n="<b>", method="<b>", tone='"><b>'))


def test_a_long_name_breaks_after_its_underscores_alone():
    assert breakable("a_b<c") == "<bdi>a_<wbr>b&lt;c</bdi>"


def test_backticks_make_code_of_escaped_text():
    assert prose("see `a<b` & b, not ` alone") == "see <code>a&lt;b</code> &amp; b, not ` alone"
    assert prose("`\u202e`") == '<code><span class="codepoint">⟦U+202E⟧</span></code>'


def test_a_name_is_isolated():
    assert name("evil\u202e") == '<bdi>evil<span class="codepoint">⟦U+202E⟧</span></bdi>'


@pytest.fixture
def hostile(db):
    """A run in which every text that somebody may choose is hostile."""
    text = " ".join(HOSTILE)
    user = make.UserFactory(username="<q>ada</q>\u202e")
    submission = make.SubmissionFactory(user=user, model__label=text[:200], model__location=text)
    evaluator = make.EvaluatorFactory(
        name="reask", version="<i>1</i>", summary=text, description=text, distribution="<u>d</u>"
    )
    run = make.RunFactory(
        submission=submission, evaluator=evaluator, state=State.COMPLETED, params={"rounds": text}
    )
    shard = make.ShardFactory(run=run)
    result = make.SampleResultFactory(
        shard=shard, flip="ci", question=text, gold=text, sample_id=text, facts={text: text},
        stop_reason="<q>", failure_id="x", failure_detail=text,
    )  # fmt: skip
    make.talk(result, [text, text], agent="<q>", payload={text: text})
    make.EventFactory(run=run, reason=text, actor="<q>")
    make.AttemptFactory(shard=shard, detail=text)
    make.completed(run)
    return run, result


@pytest.mark.django_db
def test_no_page_lets_text_out(client, hostile):
    run, result = hostile
    pages = [
        reverse("board"),
        reverse("model", args=[run.model.public_id]),
        reverse("run", args=[run.public_id]),
        reverse("submission", args=[run.submission.public_id]),
        reverse("samples", args=[run.public_id]),
        reverse("sample", args=[run.public_id, result.pk]),
        reverse("methods"),
        reverse("method", args=["reask"]),
        reverse("status"),
    ]
    for url in pages:
        html = client.get(url).content.decode()
        for bad in (
            "<script>alert",
            "<img",
            "<svg onload",
            "<q>",
            "<i>",
            "<u>",
            "\u202e",
            "\u202c",
        ):
            assert bad not in html, (url, bad)
        assert re.findall(r"\sstyle=|\son\w+=(?=['\"])|<style|javascript:(?=[^a])", html) == [], url


@pytest.mark.django_db
def test_the_policy_allows_no_inline_code(client, hostile):
    policy = client.get(reverse("board"))["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.django_db
def test_a_page_of_huge_texts_stays_small(client, finished):
    result = finished.results.first()
    result.nodes.all().delete()
    for idx in range(60):
        make.NodeFactory(result=result, idx=idx, text="\u202e\u200b<&" * 50_000)
    page = client.get(reverse("sample", args=[finished.public_id, result.pk]))
    assert len(page.content) < 500_000
    assert "left out because this page is full" in page.content.decode()


@pytest.mark.django_db
def test_whole_texts_are_downloads(client, finished):
    result = finished.results.first()
    result.nodes.filter(idx=0).update(text="<script>\u202e" * 2000)
    page = client.get(reverse("sample_text", args=[finished.public_id, result.pk, "node-0"]))
    assert page.content.decode() == "<script>\u202e" * 2000
    assert page["Content-Type"] == "text/plain; charset=utf-8"
    assert page["X-Content-Type-Options"] == "nosniff"
    assert page["Content-Disposition"].startswith("attachment;")


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["node-99", "node-x", "secret", "answer-", "prompt-99"])
def test_refuses_texts_that_are_not_there(client, finished, what):
    result = finished.results.first()
    url = reverse("sample_text", args=[finished.public_id, result.pk, what])
    assert client.get(url).status_code == 404
