"""Cards: what a file may say, how an example is drawn, and plugins that have none."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics
from evaluators.cards import (
    CardFile,
    inspect_evaluators,
    lines,
    mermaid,
    method_card,
    prompts_of,
    read_card,
    svg,
)
from evaluators.cards.turns import play_example
from evaluators.cli import run_command
from evaluators.errors import BadFile, BadParameter
from evaluators.evaluator import Evaluator
from evaluators.registry import load_evaluator

SOURCE = '''
"""A family of one."""
from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics, user

ASK = {"once": Prompt.load("PACKAGE", "planted/again")}


@evaluator(metrics=[*metrics.decomposition], source="2412.19513")
async def planted(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(3)] = 1,
    how: Literal["once", "twice"] = "once",
    share: float | None = None,
) -> Outcome:
    """Ask again.

    Calls: 1 + rounds.

    Args:
        rounds: How often.
        how: In which words.
        share: Of what.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for _ in range(rounds):
        chat += [answers[-1].message, ASK[how].message(answer=answers[-1].text)]
        answers.append(await ctx.generate(chat))
    ctx.record("vote", answers[-1].text, parents=answers)
    return Outcome(answers)
'''

CARD = {
    "title": '"On Asking Again"',
    "calls": '"1 + rounds"',
    "decoding": '"as the task says"',
    "stops": '"after rounds"',
    "example": '["Answer: 41", "Answer: 42"]',
}


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a distribution of one package with prompts and, maybe, a card."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def plant(package: str, card: str | None, source: str = SOURCE) -> Evaluator:
        home = tmp_path / package
        (home / "prompts" / "planted").mkdir(parents=True)
        (home / "__init__.py").write_text("")
        (home / "planted.py").write_text(source.replace("PACKAGE", package))
        (home / "prompts" / "planted" / "again.txt").write_text("Is it $answer? Decide.\n")
        if card is not None:
            (home / "cards").mkdir()
            (home / "cards" / "planted.toml").write_text(card)
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            f"[redraft.evaluators]\nplanted = {package}.planted:planted\n"
        )
        return load_evaluator("planted")

    return plant


def toml(**changes: str | None) -> str:
    told = {key: value for key, value in {**CARD, **changes}.items() if value is not None}
    return "\n".join(f"{key} = {value}" for key, value in told.items())


class TestRead:
    def test_reads_what_a_card_says(self, plant) -> None:
        text = toml() + '\n[[published]]\nsetting = "GPT"\nfigures = {"acc@1" = 1.5}\nsource = "t1"'
        card = read_card(plant("card_read", text))
        assert card is not None
        assert (card.title, card.calls, card.example) == (
            "On Asking Again", "1 + rounds", ("Answer: 41", "Answer: 42"),
        )  # fmt: skip
        assert card.published[0].figures == {"acc@1": 1.5}
        assert card.published[0].unverified is False
        assert card.example_sample.gold == "42"

    def test_a_plugin_without_a_card_has_none(self, plant) -> None:
        assert read_card(plant("card_none", None)) is None

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("title = ", "no TOML"),
            (toml(calls=None), "calls: Field required"),
            (toml(call='"1"'), "call: Extra inputs are not permitted"),
            (toml(example="[]"), "example: "),
            (toml() + '\n[[published]]\nsetting = "x"\nsource = "y"', "published.0.figures"),
            (
                toml() + '\n[[published]]\nsetting = "x"\nfigures = {a = nan}\nsource = "y"',
                "published.0.figures.a",
            ),
            (toml() + "\n[example_sample]\ngolden = 3", "example_sample.golden"),
        ],
        ids=["toml", "missing", "unknown", "no-example", "no-figures", "not-a-number", "sample"],
    )
    def test_refuses_what_is_no_card(self, plant, text: str, reason: str, request) -> None:
        name = request.node.callspec.id.replace("-", "_")
        with pytest.raises(BadFile) as refusal:
            read_card(plant(f"card_bad_{name}", text))
        assert refusal.value.data["path"].endswith("cards/planted.toml")
        assert reason in str(refusal.value)


class TestCard:
    async def test_joins_declarations_file_and_turns(self, plant) -> None:
        card = await method_card(plant("card_joined", toml()))
        assert card.problem == ""
        assert card.url == "https://arxiv.org/abs/2412.19513"
        assert [(p.name, p.type, p.default, p.minimum, p.maximum) for p in card.parameters] == [
            ("rounds", "integer", 1, 1, 3),
            ("how", '"once" | "twice"', "once", None, None),
            ("share", "number", None, None, None),
        ]
        assert [(p.name, p.placeholders, p.text) for p in card.prompts] == [
            ("planted/again", ("answer",), "Is it $answer? Decide.")
        ]
        assert {"CL", "CS"} <= {metric.name for metric in card.metrics}
        assert json.loads(json.dumps(card.to_json()))["turns"][1]["asked"] == ["planted/again"]

    async def test_a_stranger_s_plugin_gets_a_card_from_what_it_declares(self, plant) -> None:
        card = await method_card(plant("card_stranger", None))
        assert (card.problem, card.title, card.turns, card.diagram) == ("", "", (), "")
        assert [prompt.name for prompt in card.prompts] == ["planted/again"]

    async def test_says_what_is_wrong_with_a_card(self, plant) -> None:
        card = await method_card(plant("card_wrong", toml(stops=None)))
        assert "stops: Field required" in card.problem
        assert [parameter.name for parameter in card.parameters] == ["rounds", "how", "share"]

    @pytest.mark.parametrize(
        ("params", "reason"),
        [("round = 2", "no such parameter"), ('how = "twice"', "KeyError: 'twice'")],
        ids=["unknown", "raises"],
    )
    async def test_says_why_an_example_cannot_be_played(
        self, plant, params: str, reason: str, request
    ) -> None:
        name = f"card_unplayed_{request.node.callspec.id}"
        card = await method_card(plant(name, f"{toml()}\n[example_params]\n{params}"))
        assert card.problem.startswith("the example of its card cannot be played: ")
        assert reason in card.problem
        assert card.diagram == ""


class TestTurns:
    async def played(self, evaluator: Evaluator, **told: object):
        card = CardFile.model_validate(
            {"title": "", "calls": "?", "decoding": "?", "stops": "?", **told}
        )
        return await play_example(evaluator, card)

    async def test_follow_the_graph_of_what_builds_on_what(self, plant) -> None:
        planted = plant("card_turns", None)
        turns = await self.played(
            planted, example=["Answer: 41", "Answer: 42"], example_params={"rounds": 2}
        )
        assert [(t.kind, t.parents, t.after, t.call, t.answers, t.correct) for t in turns] == [
            ("answer", (), (), True, (1,), False),
            ("answer", (0,), (0,), True, (2,), True),
            ("answer", (0, 1), (1,), True, (3,), True),
            ("vote", (0, 1, 2), (2,), False, (), None),
        ]
        assert [t.asked for t in turns] == [
            ("question",), ("planted/again",), ("planted/again",), (),
        ]  # fmt: skip

    async def test_a_given_solution_is_a_turn_without_a_call(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def judged(ctx: Context, sample: Sample) -> Outcome:
            """Judge what is given."""
            assert sample.given is not None
            node = ctx.record("given", sample.given.text)
            return Outcome([await ctx.generate(sample.messages, parents=[node.idx])])

        turns = await self.played(
            judged, example=["Answer: 42"], example_sample={"given": "Answer: 41", "steps": ["x"]}
        )
        assert [(t.kind, t.call, t.text) for t in turns] == [
            ("given", False, "Answer: 41"), ("answer", True, "Answer: 42"),
        ]  # fmt: skip

    async def test_refuses_parameters_that_the_method_lacks(self, plant) -> None:
        with pytest.raises(BadParameter):
            await self.played(plant("card_refused", None), example=["x"], example_params={"n": 1})


class TestDrawing:
    @pytest.fixture
    async def turns(self):
        card = CardFile(
            title="", calls="?", decoding="?", stops="?",
            example=('Answer: <b>"41"</b> & so on, at some length', "Verdict: wrong", "Answer: 42"),
            example_params={"max_attempts": 1},
        )  # fmt: skip
        return await play_example(load_evaluator("self_refine"), card)

    def test_words_say_what_happens(self, turns) -> None:
        assert lines(turns) == [
            '1. answer a1 ✗, asked the question: “Answer: <b>"41"</b> & so on, at…”',
            "2. critique by critic → wrong, after 1, asked self_refine/feedback: “Verdict: wrong”",
            "3. answer a2 ✓, after 2, asked self_refine/refine: “Answer: 42”",
        ]

    def test_svg_is_a_picture_that_needs_nothing_and_speaks(self, turns) -> None:
        text = svg(turns, title="Turns of <it>")
        root = ElementTree.fromstring(text)  # noqa: S314 - our own text
        space = "{http://www.w3.org/2000/svg}"
        assert root.get("role") == "img"
        assert root.findtext(f"{space}title") == "Turns of <it>"
        assert "2. critique by critic" in (root.findtext(f"{space}desc") or "")
        assert [group.get("class") for group in root.iter(f"{space}g")] == [
            "turn turn-answer", "turn turn-critique", "turn turn-answer",
        ]  # fmt: skip
        assert "<b>" not in text
        for forbidden in ("<script", "style=", "href", "<style", "http://", "https://"):
            assert forbidden not in text.replace("http://www.w3.org/2000/svg", "")

    def test_boxes_lie_in_the_picture_and_on_nothing_else(self, turns) -> None:
        root = ElementTree.fromstring(svg(turns, title="x"))  # noqa: S314 - our own text
        rects = list(root.iter("{http://www.w3.org/2000/svg}rect"))
        corners = [(float(r.get("x", "")), float(r.get("y", ""))) for r in rects]
        assert len(set(corners)) == len(turns)
        width, height = float(root.get("width", "")), float(root.get("height", ""))
        assert all(x >= 0 and x + 216 <= width and y >= 0 and y + 62 <= height for x, y in corners)

    def test_mermaid_escapes_what_replies_say(self, turns) -> None:
        text = mermaid(turns)
        assert text.splitlines()[0] == "flowchart TD"
        assert "#lt;b#gt;#quot;41#quot;" in text
        assert "t0 --> t1" in text


class TestPrompts:
    def test_finds_prompts_wherever_the_module_holds_them(self) -> None:
        found = prompts_of(load_evaluator("review_improve"))
        assert {"review_improve/improve", "review_improve/review_neutral"} <= {
            prompt.name for prompt in found
        }
        assert all(isinstance(prompt, Prompt) for prompt in found)


class TestInspection:
    def test_one_that_ends_the_process_harms_no_other(self, plant, tmp_path: Path) -> None:
        plant("card_killer", toml())
        home = tmp_path / "card_killer"
        (home / "fatal.py").write_text("import os; os._exit(9)")
        noisy = (home / "planted.py").read_text().replace("def planted", "def noisy")
        (home / "noisy.py").write_text(f"print('{{}}')\n{noisy}")
        entries = tmp_path / "card_killer-1.dist-info" / "entry_points.txt"
        entries.write_text(
            "[redraft.evaluators]\nfatal = card_killer.fatal:fatal\n"
            "noisy = card_killer.noisy:noisy\nplanted = card_killer.planted:planted\n"
        )
        cards = {c.name: c for c in inspect_evaluators(["planted", "reask", "noisy", "fatal"])}
        assert list(cards) == ["fatal", "noisy", "planted", "reask"]
        assert cards["fatal"].problem == "exit status 9"
        assert (cards["noisy"].problem, cards["noisy"].summary) == ("", "Ask again.")
        assert cards["planted"].problem == ""
        assert cards["planted"].source == "2412.19513"
        assert cards["planted"].controls[0] == "greedy"
        assert cards["planted"].card["calls"] == "1 + rounds"
        assert cards["reask"].problem == ""


class TestCommand:
    def test_shows_a_card(self, capsys) -> None:
        assert run_command(["show", "reask"]) == 0
        out = capsys.readouterr().out
        assert "https://arxiv.org/abs/2412.19513" in out
        assert "Turns of a scripted example" in out

    def test_shows_json(self, capsys) -> None:
        assert run_command(["show", "reask", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["source"], told["information"]) == ("2412.19513", "intrinsic")
        assert told["card"]["turns"][0]["asked"] == ["question"]

    def test_lists_source_class_needs_and_controls(self, capsys) -> None:
        assert run_command(["list", "--json"]) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        told = rows["self_refine"]
        assert (told["source"], told["information"]) == ("2303.17651", "intrinsic")
        assert told["requires"] == ["chat"]
        assert "sc_calls" in told["controls"]

    def test_check_reads_the_card(self, plant, capsys) -> None:
        plant("card_checked", toml(stops=None))
        assert run_command(["check", "planted", "--json"]) == 1
        *_, last = json.loads(capsys.readouterr().out)
        assert last["check"] == "its card, if it has one, can be read and played"
        assert "stops: Field required" in last["problem"]
        assert run_command(["check", "single_pass"]) == 0

    def test_refuses_a_name_that_is_not_installed(self, capsys) -> None:
        assert run_command(["show", "reask_"]) == 2
        assert "Did you mean reask" in capsys.readouterr().err

    def test_writes_pages_and_removes_those_of_methods_that_are_gone(
        self, tmp_path: Path, capsys
    ) -> None:
        arguments = ["show", "--docs", str(tmp_path), "--distribution", "redraft-sampling"]
        assert run_command(arguments) == 0
        page = tmp_path / "single_pass.md"
        (tmp_path / "gone.md").write_text(page.read_text())
        (tmp_path / "results.md").write_text("# Measured\n")
        assert run_command(arguments) == 0
        capsys.readouterr()
        there = {path.name for path in tmp_path.iterdir()}
        assert {"README.md", "single_pass.md", "results.md"} <= there
        assert "gone.md" not in there
        assert "reask.md" not in there
        index = (tmp_path / "README.md").read_text()
        assert "[`single_pass`](single_pass.md)" in index
        assert "(results.md)" in index
