"""Suites are data: read with every key checked, and digested."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluators
from evaluators.errors import AmbiguousName, BadFile, NotInstalled
from evaluators.tasks import SuiteTask, TaskSpec, list_suites, load_suite
from evaluators.tasks.catalogue import read_yaml

PACKAGE = Path(evaluators.__file__).parent

GOOD = """
name = "mine"
version = "2"
summary = "Two tasks"
[[tasks]]
name = "rg_chain_sum"
limit = 5
num_fewshot = 3
metric = "score"
filter = "flexible"
threshold = 1
max_tokens = 9
[[tasks]]
name = "rg_gcd"
"""

BAD = {
    "no-name": ('name = "mine"', "", "has no key 'name'"),
    "unknown-key": ('name = "mine"', 'name = "mine"\nauthor = "me"', "unknown key 'author'"),
    "version-is-no-text": ('version = "2"', "version = 2", "'version' is not a text"),
    "empty-summary": ('"Two tasks"', '" "', "'summary' is not a text"),
    "unknown-setting": ("limit = 5", "limits = 5", "task 'rg_chain_sum': unknown key 'limits'"),
    "limit-zero": ("limit = 5", "limit = 0", "task 'rg_chain_sum': limit = 0 is below 1"),
    "tokens-negative": (
        "max_tokens = 9", "max_tokens = -1", "task 'rg_chain_sum': max_tokens = -1 is below 1",
    ),
    "limit-text": (
        "limit = 5", 'limit = "5"', "task 'rg_chain_sum': limit = '5' is not of type int",
    ),
    "limit-true": (
        "limit = 5", "limit = true", "task 'rg_chain_sum': limit = True is not of type int",
    ),
    "threshold-text": (
        "threshold = 1", "threshold = 'a'",
        "task 'rg_chain_sum': threshold = 'a' is not of type float",
    ),
    "nameless-task": ('name = "rg_gcd"', "limit = 1", "a task has no name"),
    "twice": ('name = "rg_gcd"', 'name = "rg_chain_sum"', "task 'rg_chain_sum' is named twice"),
    "no-toml": ("[[tasks]]", "[[tasks", "Expected ']]' at the end of an array declaration"),
}  # fmt: skip


class TestReading:
    def test_a_suite_of_ones_own_is_read_by_path(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text(GOOD)
        suite = load_suite(path)
        assert (suite.name, suite.version, suite.summary) == ("mine", "2", "Two tasks")
        spec = TaskSpec(
            "rg_chain_sum", num_fewshot=3, metric="score", filter="flexible", max_tokens=9
        )
        assert suite.tasks == (SuiteTask(spec, 5), SuiteTask(TaskSpec("rg_gcd")))
        assert suite.specs == (spec, TaskSpec("rg_gcd"))
        assert load_suite(str(path)) == suite

    @pytest.mark.parametrize(("old", "new", "reason"), BAD.values(), ids=BAD.keys())
    def test_refuses_what_is_no_suite(
        self, tmp_path: Path, old: str, new: str, reason: str
    ) -> None:
        assert old in GOOD
        path = tmp_path / "mine.toml"
        path.write_text(GOOD.replace(old, new, 1))
        with pytest.raises(BadFile) as caught:
            load_suite(path)
        assert caught.value.data["path"] == str(path)
        assert str(caught.value.data["reason"]).startswith(reason)

    def test_refuses_a_suite_without_tasks(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text('name = "a"\nversion = "1"\nsummary = "b"\ntasks = []\n')
        with pytest.raises(BadFile, match="'tasks' is not a list of tables"):
            load_suite(path)

    def test_refuses_a_name_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotInstalled, match=r"No suite named 'demmo'.*Did you mean demo"):
            load_suite("demmo")
        with pytest.raises(BadFile, match="No such file"):
            load_suite(tmp_path / "nowhere.toml")

    def test_the_digest_tells_suites_apart_but_not_their_wording(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"

        def digest(old: str, new: str) -> str:
            path.write_text(GOOD.replace(old, new))
            return load_suite(path).digest

        plain = digest("", "")
        assert digest("Two tasks", "A pair") == plain
        assert len({plain, digest("limit = 5", "limit = 6"), digest('"2"', '"3"')}) == 3


class TestBrought:
    """Suites that lie beside the tasks of an installed package."""

    @pytest.fixture
    def bring(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
        """Return a function that installs a package of tasks with one suite."""
        monkeypatch.syspath_prepend(str(tmp_path))

        def bring_one(package: str, name: str) -> Path:
            path = tmp_path / package / "tasks" / "suites" / "some.toml"
            path.parent.mkdir(parents=True)
            path.write_text(GOOD.replace('"mine"', f'"{name}"'))
            info = tmp_path / f"{package}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
            (info / "entry_points.txt").write_text(
                f"[redraft.tasks]\n{package} = {package}.tasks\n"
            )
            return path

        return bring_one

    def test_they_are_listed_and_loaded_by_name(self, bring: Callable[[str, str], Path]) -> None:
        path = bring("acme_tasks", "sums")
        assert [entry.path for entry in list_suites() if entry.name == "sums"] == [path]
        assert load_suite("sums") == load_suite(path)

    def test_refuses_a_name_that_two_packages_bring(
        self, bring: Callable[[str, str], Path]
    ) -> None:
        bring("acme_tasks", "sums")
        bring("other_tasks", "sums")
        with pytest.raises(AmbiguousName, match="sums"):
            load_suite("sums")
        assert "sums" not in [entry.name for entry in list_suites()]

    def test_a_bundled_one_keeps_its_name(self, bring: Callable[[str, str], Path]) -> None:
        path = bring("acme_tasks", "demo")
        assert load_suite("demo").path != path
        assert [entry.path for entry in list_suites() if entry.name == "demo"] != [path]

    def test_one_that_cannot_be_read_takes_no_other_down(
        self, bring: Callable[[str, str], Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        bring("acme_tasks", "sums").write_text("name = ")
        with caplog.at_level(logging.WARNING):
            assert "demo" in [entry.name for entry in list_suites()]
        assert "some.toml is left out" in caplog.text


class TestBundled:
    def test_they_are_listed(self) -> None:
        ours = [entry for entry in list_suites() if entry.path.parent == PACKAGE / "tasks/suites"]
        assert [(entry.name, entry.tasks) for entry in ours] == [
            ("demo", 2), ("offline", 32), ("offline-choice", 4), ("offline-likelihood", 4),
            ("offline-small", 6),
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["demo", "offline", "offline-small"])
    def test_their_tasks_filters_and_limits_exist(self, bundled: Path, name: str) -> None:
        for task in load_suite(name).tasks:
            config = read_yaml(bundled / f"{task.spec.name}.yaml")
            filters = [entry["name"] for entry in config.get("filter_list", ())]
            assert task.spec.filter in (None, *filters)
            assert 1 <= (task.limit or 1) <= config["dataset_kwargs"]["size"]

    def test_offline_holds_every_bundled_task_that_is_written(self, bundled: Path) -> None:
        names = {task.spec.name for task in load_suite("offline").tasks}
        assert names == {path.stem for path in bundled.glob("rg_*.yaml")}

    @pytest.mark.parametrize("name", ["choice", "likelihood"])
    def test_the_others_hold_every_choice_in_one_mode(self, bundled: Path, name: str) -> None:
        mode = "generative" if name == "choice" else name
        keys = {task.spec.key for task in load_suite(f"offline-{name}").tasks}
        assert keys == {f"{path.stem}:{mode}" for path in bundled.glob("rgmc_*.yaml")}

    def test_a_choice_without_a_mode_is_put_in_writing(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        head = 'name = "mine"\nversion = "1"\nsummary = "One task"\n'
        path.write_text(f'{head}[[tasks]]\nname = "rgmc_syllogism"\n')
        (task,) = load_suite(path).tasks
        assert task.spec == TaskSpec("rgmc_syllogism", mode="generative")
