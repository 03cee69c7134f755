"""Installed things are found by name, and a bad plugin harms nobody but itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.cards import inspect_evaluator, inspect_evaluators
from evaluators.errors import AmbiguousName, BrokenPlugin, NotInstalled
from evaluators.registry import installed, load_evaluator

GOOD = '''
from evaluators.api import Context, Outcome, Sample, evaluator, metrics

@evaluator(metrics=[*metrics.decomposition])
async def {name}(ctx: Context, sample: Sample) -> Outcome:
    """Answer once."""
    return Outcome([await ctx.generate(sample.messages)])
'''


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install distributions as files on the path, the way pip leaves them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def plant(
        distribution: str, source: str, *, name: str = "planted", version: str = "1.0"
    ) -> Path:
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[redraft.evaluators]\n{name} = {module}:{name}\n")
        return tmp_path

    return plant


class TestLoad:
    def test_finds_by_name(self, plant) -> None:
        plant("redraft-good-one", GOOD.format(name="planted"))
        assert load_evaluator("planted").summary == "Answer once."

    def test_refuses_an_unknown_name_and_says_what_is_near(self) -> None:
        with pytest.raises(NotInstalled) as refusal:
            load_evaluator("self_refin")
        assert refusal.value.data["near"][0] == "self_refine"

    def test_refuses_a_name_that_two_distributions_offer(self, plant) -> None:
        plant("redraft-one", GOOD.format(name="planted"))
        plant("redraft-two", GOOD.format(name="planted"))
        with pytest.raises(AmbiguousName) as refusal:
            load_evaluator("planted")
        assert refusal.value.data["distributions"] == ["redraft-one", "redraft-two"]
        assert load_evaluator("reask").name == "reask"

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("1 / 0", "ZeroDivisionError"),
            ("import no_such_module", "no_such_module"),
            ("planted = 3", "leads to a int"),
            (GOOD.format(name="other") + "\nplanted = other", "the function 'other'"),
            ("", "planted"),
        ],
        ids=["raises", "import", "no-evaluator", "other-name", "missing"],
    )
    def test_refuses_a_broken_plugin(self, plant, source: str, reason: str) -> None:
        plant(f"redraft-broken-{abs(hash(source))}", source)
        with pytest.raises(BrokenPlugin) as refusal:
            load_evaluator("planted")
        assert reason in str(refusal.value)


class TestInspect:
    def test_describes_without_importing_here(self, plant) -> None:
        import sys

        plant("redraft-inspected", GOOD.format(name="planted"), version="2.5")
        card = inspect_evaluator("planted")
        assert (card.distribution, card.version, card.problem) == ("redraft-inspected", "2.5", "")
        assert card.summary == "Answer once."
        assert "CL" in card.metrics
        assert "redraft_inspected" not in sys.modules

    @pytest.mark.parametrize(
        ("source", "reason"),
        [("1 / 0", "ZeroDivisionError"), ("import os; os._exit(7)", "exit status 7")],
        ids=["raises", "exits"],
    )
    def test_says_what_is_wrong_with_a_broken_plugin(self, plant, source: str, reason: str) -> None:
        plant(f"redraft-unfit-{abs(hash(source))}", source)
        assert reason in inspect_evaluator("planted").problem

    def test_digest_follows_the_code_and_not_the_version(self, plant) -> None:
        folder = plant("redraft-digest", GOOD.format(name="planted"))
        before = inspect_evaluator("planted").digest
        assert inspect_evaluator("planted").digest == before
        module = folder / "redraft_digest.py"
        module.write_text(module.read_text() + "# changed\n")
        assert inspect_evaluator("planted").digest != before


class TestInspectBriefly:
    NAMES = ("choice_likelihood", "self_refine", "single_pass")
    LEFT_OUT = ("digest", "schema", "card")

    def test_tells_what_is_declared_and_nothing_that_takes_time(self) -> None:
        brief = inspect_evaluators(self.NAMES, brief=True)
        whole = inspect_evaluators(self.NAMES)
        assert [(card.digest, card.schema, card.card) for card in brief] == [("", {}, {})] * 3
        assert all(card.digest and card.card for card in whole)
        left_out = [{name: getattr(card, name) for name in self.LEFT_OUT} for card in brief]
        assert brief == [
            replace(card, **empty) for card, empty in zip(whole, left_out, strict=True)
        ]

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("1 / 0", "ZeroDivisionError"),
            ("import os; os._exit(7)", "exit status 7"),
            ("planted = 3", "leads to a int"),
        ],
        ids=["raises", "exits", "no-evaluator"],
    )
    def test_a_broken_plugin_keeps_no_other_from_the_list(
        self, plant, source: str, reason: str
    ) -> None:
        plant("redraft-briefly", source)
        found = {
            card.name: card for card in inspect_evaluators(["planted", *self.NAMES], brief=True)
        }
        assert list(found) == sorted(["planted", *self.NAMES])
        assert reason in found["planted"].problem
        assert not any(found[name].problem for name in self.NAMES)

    def test_what_a_plugin_prints_is_no_part_of_it(self, plant) -> None:
        plant("redraft-chatty", 'print("hello {")\n' + GOOD.format(name="planted"))
        (card,) = inspect_evaluators(["planted"], brief=True)
        assert (card.summary, card.problem) == ("Answer once.", "")


class TestInstalled:
    def test_lists_what_is_there_even_when_it_is_broken(self, plant) -> None:
        plant("redraft-sad", "1 / 0")
        assert "planted" in {entry.name for entry in installed("evaluator")}
