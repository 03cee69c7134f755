"""What is written down is true: settings, commands, deployment files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from leaderboard.settings.env import Environment

ROOT = Path(__file__).resolve().parents[2]
OF_COMPOSE = {"POSTGRES_PASSWORD"}
"""Read by compose.yaml, not by us."""
OF_THE_LIBRARY = {
    "REDRAFT_CACHE", "REDRAFT_DATA_DIR", "REDRAFT_SOURCES", "REDRAFT_VLLM_COMMAND",
    "REDRAFT_VLLM_PYTHON",
}  # fmt: skip
"""Read by the library alone."""
SET_BY_OTHERS = {"REDRAFT_SHARED"}
"""Read by tests only."""


def _variables(text: str) -> set[str]:
    return set(re.findall(r"\b(?:REDRAFT_[A-Z_]*[A-Z]|DATABASE_URL|CELERY_BROKER_URL)\b", text))


def _documented() -> dict[str, str]:
    """Return every variable of env.example with its comment."""
    found, comment = {}, ""
    for line in (ROOT / "deploy" / "env.example").read_text().splitlines():
        if match := re.fullmatch(r"(?:# )?([A-Z][A-Z_]+)=.*", line):
            found[match[1]] = comment
        elif line.startswith("#"):
            comment += line.removeprefix("#")
        else:
            comment = ""
    return found


class TestSettings:
    READ = {str(field.alias) for field in Environment.model_fields.values()}

    def test_every_setting_is_explained(self):
        assert set(_documented()) == self.READ | OF_COMPOSE | OF_THE_LIBRARY
        assert [name for name, comment in _documented().items() if len(comment) < 20] == []

    def test_every_setting_has_a_description(self):
        fields = Environment.model_fields.values()
        assert [
            field.alias for field in fields if not (field.description or "").endswith(".")
        ] == []

    def test_the_library_reads_no_other_variable(self):
        read = {
            name
            for path in (ROOT / "evaluators").rglob("*.py")
            for name in re.findall(
                r"environ(?:\.get\(|\[)\s*[\"'](REDRAFT_[A-Z_]+)", path.read_text()
            )
        }
        assert read <= set(_documented())

    def test_defaults_are_those_of_the_code(self):
        defaults = {str(f.alias): f.default for f in Environment.model_fields.values()}
        for line in (ROOT / "deploy" / "env.example").read_text().splitlines():
            match = re.fullmatch(r"# (REDRAFT_[A-Z_]+)=([\d.]+|[A-Z]+)", line)
            if match:
                assert type(defaults[match[1]])(match[2]) == defaults[match[1]], match[1]


class TestCompose:
    COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())

    def test_has_every_service(self):
        assert set(self.COMPOSE["services"]) == {
            "postgres", "valkey", "prepare", "web", "worker", "sweeper", "worker-gpu",
        }  # fmt: skip

    @pytest.mark.parametrize("service", ["postgres", "valkey", "web"])
    def test_says_when_it_is_well(self, service):
        assert self.COMPOSE["services"][service]["healthcheck"]["test"]

    def test_workers_may_finish_what_they_hold(self):
        for service in ("worker", "worker-gpu"):
            assert self.COMPOSE["services"][service]["stop_grace_period"] == "60s"

    def test_holds_no_secret(self):
        text = (ROOT / "deploy" / "compose.yaml").read_text()
        assert set(re.findall(r"\$\{(\w+)", text)) == OF_COMPOSE
        assert set(re.findall(r"PASSWORD: (\S+)", text)) == {"${POSTGRES_PASSWORD:?set"}

    def test_uses_documented_settings_only(self):
        used = {
            name
            for service in self.COMPOSE["services"].values()
            for name in service.get("environment", {})
            if not name.startswith("POSTGRES_")
        }
        assert used <= set(_documented())

    def test_builds_from_files_that_exist(self):
        for service in self.COMPOSE["services"].values():
            if build := service.get("build"):
                context = (ROOT / "deploy" / build["context"]).resolve()
                assert context == ROOT
                assert (context / build["dockerfile"]).is_file()

    def test_every_volume_is_used(self):
        used = {
            volume.split(":")[0]
            for service in self.COMPOSE["services"].values()
            for volume in service.get("volumes", [])
        }
        assert used == set(self.COMPOSE["volumes"])


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
class TestDockerfiles:
    def test_copies_what_exists(self, name):
        text = (ROOT / "deploy" / name).read_text()
        copied = [
            source
            for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
            for source in line.split()[:-1]
        ]
        assert copied
        assert [source for source in copied if not (ROOT / source).exists()] == []

    def test_installs_plugins_that_exist(self, name):
        text = (ROOT / "deploy" / name).read_text()
        installed = set(re.findall(r"\./(plugins/\w+)", text))
        bundled = {
            path.parent.relative_to(ROOT).as_posix()
            for path in ROOT.glob("plugins/*/pyproject.toml")
        }
        assert installed == bundled - {"plugins/example"}

    def test_runs_as_an_ordinary_user(self, name):
        text = (ROOT / "deploy" / name).read_text()
        assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["redraft"]
        assert text.rindex("\nUSER ") < text.rindex("\nCMD ")

    def test_sets_documented_settings_only(self, name):
        assert _variables((ROOT / "deploy" / name).read_text()) <= set(_documented())


class TestMakefile:
    TEXT = (ROOT / "Makefile").read_text()
    TARGETS = set(re.findall(r"^([a-z-]+):", TEXT, re.MULTILINE))

    def test_has_the_words_of_the_documentation(self):
        told = {
            word
            for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
            if path.exists()
            for word in re.findall(r"(?:^|`)\s*make ([a-z-]+)", path.read_text(), re.MULTILINE)
        }
        assert told <= self.TARGETS
        assert {"demo", "up", "test", "lint", "bench", "clean"} <= self.TARGETS

    def test_every_word_is_explained(self):
        explained = set(re.findall(r"^([a-z-]+):.*## \S", self.TEXT, re.MULTILINE))
        assert self.TARGETS - explained <= {"test-library", "test-server"}

    def test_uses_the_constraints(self):
        pins = (ROOT / "requirements" / "constraints.txt").read_text()
        assert "torch==2.13.0" in pins
        assert "-c requirements/constraints.txt" in self.TEXT


class TestRequirements:
    """Pins that stand in two places agree."""

    def test_constraints_agree_with_the_project(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        pinned = dict(
            re.fullmatch(r"([\w-]+)(?:\[.*\])?==([\w.]+)", entry).groups()
            for entry in project["dependencies"]
            if "==" in entry
        )
        constraints = dict(
            line.split("==")
            for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
            if line and not line.startswith("#")
        )
        shared = set(pinned) & set(constraints)
        assert shared >= {"lm_eval", "reasoning-gym"}
        assert {name: constraints[name] for name in shared} == {n: pinned[n] for n in shared}

    def test_vllm_on_a_cpu_takes_the_same_torch(self):
        for name in ("constraints.txt", "vllm-cpu.txt"):
            assert "\ntorch==2.13.0\n" in (ROOT / "requirements" / name).read_text()
