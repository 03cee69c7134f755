"""What `doctor` says about this machine, and about broken ones."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import override_settings

from leaderboard.core import doctor
from leaderboard.core.broker import reach_broker

SUBJECTS = [
    "python", "packages", "plugins", "suites", "settings", "database", "migrations", "broker",
    "disk", "machine", "gpu", "sandbox", "bundled model", "browser",
]  # fmt: skip


def _told(look):
    return [(finding.level, finding.text) for finding in look()]


@pytest.mark.django_db
class TestCommand:
    def test_looks_at_everything(self):
        out = StringIO()
        call_command("doctor", json=True, stdout=out)
        told = json.loads(out.getvalue())
        assert told["ok"] is True
        assert list(dict.fromkeys(f["subject"] for f in told["findings"])) == SUBJECTS

    def test_names_every_installed_evaluator_with_its_version(self):
        found = [f.text for f in doctor.examine() if f.subject == "plugins"]
        for name in ("reask", "review_improve", "self_consistency", "self_refine", "single_pass"):
            assert any(text.startswith(f"{name} (redraft-") for text in found)

    def test_fails_when_something_must_be_mended(self, tmp_path):
        out = StringIO()
        (tmp_path / "secret_key").touch()
        (tmp_path / "secret_key").chmod(0o644)
        with override_settings(REDRAFT_VAR=tmp_path), pytest.raises(SystemExit) as ended:
            call_command("doctor", stdout=out)
        assert ended.value.code == 1
        assert "settings       broken   Others may read" in out.getvalue()


class TestFindings:
    def test_requires_the_sandbox_only_where_it_is_asked_for(self):
        problem = doctor._sandbox_problem()
        for required in (False, True):
            with override_settings(REDRAFT_REQUIRE_SANDBOX=required):
                ((level, _),) = _told(doctor._sandbox)
            expected = "bad" if required else "note"
            assert level == (expected if problem else "ok")

    def test_a_broken_look_is_a_finding(self):
        def _stars():
            raise ValueError("clouds")

        before = doctor._LOOKS
        doctor._LOOKS = (_stars,)
        try:
            (finding,) = doctor.examine()
        finally:
            doctor._LOOKS = before
        assert (finding.subject, finding.level, finding.text) == (
            "stars",
            "bad",
            "ValueError: clouds",
        )


class TestBroker:
    def test_files_need_a_folder(self, tmp_path):
        with override_settings(CELERY_BROKER_URL="filesystem://", REDRAFT_VAR=tmp_path / "var"):
            assert reach_broker() == ""

    def test_refuses_a_broker_that_is_away(self):
        with override_settings(CELERY_BROKER_URL="redis://127.0.0.1:1/0"):
            assert "refused" in reach_broker(seconds=1)
            ((level, text),) = _told(doctor._broker)
        assert level == "note"
        assert text.startswith("redis: ")
