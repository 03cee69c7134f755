"""Tasks are found by name: bundled, from plugins, from the caller's folders, from lm-eval."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from evaluators.errors import AmbiguousName, BadFile, BadTask, BrokenPlugin, NotInstalled
from evaluators.tasks import TaskSpec, list_tasks, open_tasks
from evaluators.tasks.catalogue import Catalogue, installed_folders, read_yaml
from evaluators.tasks.index import default_index, lm_eval_root

Write = Callable[..., Path]
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_into: Write) -> Install:
    """Return a function that installs a distribution with a folder of tasks, as pip lays it out."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install_one(distribution: str, *tasks: str, module: str | None = None) -> Path:
        package = distribution.replace("-", "_")
        folder = site / package / "tasks"
        folder.mkdir(parents=True)
        (site / package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
        for task in tasks:
            write_into(folder, task)
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(
            f"[redraft.tasks]\n{package} = {module or f'{package}.tasks'}\n"
        )
        return folder

    return install_one


class TestListing:
    def test_an_installed_folder_is_listed_without_importing_its_package(
        self, install: Install
    ) -> None:
        folder = install("acme-tasks", "acme_two", "acme_one")
        found = [entry for entry in list_tasks() if entry.distribution == "acme-tasks"]
        assert [(e.name, e.summary, e.version, e.path) for e in found] == [
            ("acme_one", "Adding one", "3.5", folder / "acme_one.yaml"),
            ("acme_two", "Adding one", "3.5", folder / "acme_two.yaml"),
        ]

    def test_a_file_that_cannot_be_read_is_left_out_and_logged(
        self, install: Install, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = install("acme-tasks", "acme_one")
        (folder / "broken.yaml").write_text("task: [")
        with caplog.at_level(logging.WARNING):
            names = [e.name for e in list_tasks() if e.distribution == "acme-tasks"]
        assert names == ["acme_one"]
        assert "broken.yaml is left out" in caplog.text

    def test_refuses_an_entry_point_to_a_package_that_is_not_there(self, install: Install) -> None:
        install("acme-tasks", module="acme_tasks.nowhere")
        with pytest.raises(BrokenPlugin, match=r"there is no package 'acme_tasks\.nowhere'"):
            installed_folders()

    def test_everything_holds_lm_evals_tasks_that_can_be_evaluated(self) -> None:
        entries = {entry.name: entry for entry in list_tasks(everything=True)}
        assert entries["gsm8k"].distribution == "lm_eval"
        assert entries["gsm8k"].summary == "openai/gsm8k main"
        assert entries["gsm8k"].path.is_file()
        assert not {"humaneval", "mmlu", "wikitext"} & entries.keys()
        assert entries["gsm8k"].modes == ("generate_until",)
        assert entries["arc_easy"].modes == ("generative", "likelihood")

    def test_the_bundled_folders_are_installed_with_redraft(self) -> None:
        try:
            version("redraft")
        except PackageNotFoundError:
            pytest.skip("redraft is not installed, only its source is here")
        own = {e.name: e.path for e in list_tasks() if e.distribution == "redraft"}
        assert own["echo_flips"].parent.parts[-2:] == ("testing", "tasks")
        assert own["rg_gcd"].parent.parts[-2:] == ("tasks", "bundled")
        assert len(own) == 37


class TestFinding:
    async def test_an_installed_task_is_opened_by_name(self, install: Install) -> None:
        install("acme-tasks", "acme_one")
        async with open_tasks([TaskSpec("acme_one")]) as tasks:
            assert (await tasks["acme_one"].grade("0", ["1"]))[0].correct

    def test_the_callers_folder_comes_first(self, install: Install, write: Write) -> None:
        install("acme-tasks", "acme_one")
        own = write("acme_one")
        assert Catalogue([own.parent]).find("acme_one") == own

    def test_refuses_a_name_that_two_distributions_offer(self, install: Install) -> None:
        install("acme-tasks", "shared")
        install("other-tasks", "shared", "other")
        with pytest.raises(AmbiguousName, match=r"offered by acme-tasks .* and other-tasks "):
            Catalogue().find("shared")
        assert Catalogue().find("other").name == "other.yaml"

    def test_refuses_an_unknown_name_with_its_neighbours(self, install: Install) -> None:
        install("acme-tasks", "acme_one")
        with pytest.raises(NotInstalled) as caught:
            Catalogue().find("acme_onne")
        assert caught.value.data["near"][0] == "acme_one"  # type: ignore[index] # a list of names

    def test_lm_evals_tasks_are_found_last(self) -> None:
        assert Catalogue().find("gsm8k") == lm_eval_root() / "gsm8k" / "gsm8k.yaml"

    @pytest.mark.parametrize(
        ("name", "members"),
        [
            ("mmlu", "group of tasks; name one of them: mmlu_stem, mmlu_other, "),
            ("ai2_arc", "tag of tasks; name one of them: arc_challenge, arc_easy"),
            ("belebele", "group of tasks; name one of them: .* and 110 more"),
        ],
    )
    def test_refuses_a_name_that_stands_for_several_tasks(self, name: str, members: str) -> None:
        with pytest.raises(BadTask, match=f"is a {members}"):
            Catalogue().find(name)


class TestReading:
    def test_includes_are_merged_and_the_files_own_keys_win(self, tmp_path: Path) -> None:
        (tmp_path / "base").write_text("a: 1\nb: 1\nf: !function some.thing")
        (tmp_path / "middle").write_text("include: base\nb: 2")
        path = tmp_path / "task.yaml"
        path.write_text("include: [middle]\nc: 3")
        assert read_yaml(path) == {"a": 1, "b": 2, "f": "some.thing", "c": 3}

    @pytest.mark.parametrize(
        ("text", "line", "reason"),
        [
            ("a: 1\nb: ]\nc: 1", 2, "did not find expected node content"),
            ("- 1", None, "does not hold a mapping"),
            ("include: task.yaml", None, "includes itself"),
            ("include: nowhere", None, "No such file"),
        ],
    )
    def test_refuses_what_is_no_task_file(
        self, tmp_path: Path, text: str, line: int | None, reason: str
    ) -> None:
        path = tmp_path / "task.yaml"
        path.write_text(text)
        with pytest.raises(BadFile) as caught:
            read_yaml(path)
        assert caught.value.data["line"] == line
        assert reason in str(caught.value.data["reason"])


class TestIndex:
    def test_it_is_read_from_the_cache_in_a_fraction_of_a_second(self) -> None:
        default_index()
        script = """
import time; start = time.perf_counter()
from evaluators.tasks.index import default_index
index = default_index()
print(time.perf_counter() - start, len(index), index["ai2_arc"].kind, index["ai2_arc"].members)
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        seconds, *rest = done.stdout.split()
        assert float(seconds) < 3
        assert int(rest[0]) > 10_000
        assert rest[1:] == ["tag", "('arc_challenge',", "'arc_easy')"]

    def test_a_folder_that_cannot_be_written_is_no_obstacle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from evaluators.tasks import index

        nowhere = tmp_path / "file"
        nowhere.touch()
        index._keep(nowhere / "index.json", "{}")
        index._keep(tmp_path / "deep" / "index.json", "{}")
        assert (tmp_path / "deep" / "index.json").read_text() == "{}"
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["index.json"]

    def test_the_cache_is_named_for_version_and_state_of_lm_eval(self) -> None:
        default_index()
        files = [path.name for path in Path(os.environ["REDRAFT_CACHE"]).glob("lm-eval-*.json")]
        assert any(name.startswith(f"lm-eval-{version('lm_eval')}-") for name in files)

    @pytest.mark.parametrize(
        ("environment", "folder"),
        [
            ({"REDRAFT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
            ({"XDG_CACHE_HOME": "/b"}, "/b/redraft"),
            ({"HOME": "/c"}, "/c/.cache/redraft"),
        ],
    )
    def test_the_cache_folder_follows_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str
    ) -> None:
        from evaluators.tasks.index import cache_folder

        for name in ("REDRAFT_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert cache_folder() == Path(folder)
