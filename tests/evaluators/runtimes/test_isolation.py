"""What a confined child cannot see."""

import os
import subprocess
from pathlib import Path

import pytest

from evaluators.errors import RuntimeUnavailable
from evaluators.runtimes import isolation
from evaluators.runtimes.isolation import child_environment, confine

CONFINED = confine(["true"], network=False)[1] == "bwrap"
needs_bwrap = pytest.mark.skipif(not CONFINED, reason="bubblewrap is missing or blocked here")


def run(command: list[str], *, network: bool = False) -> subprocess.CompletedProcess[str]:
    wrapped, _ = confine(command, network=network)
    return subprocess.run(wrapped, capture_output=True, text=True, check=False)


@needs_bwrap
class TestConfined:
    def test_hidden_folders_are_empty(self, tmp_path: Path, monkeypatch) -> None:
        secret = tmp_path / "postgres" / "url"
        secret.parent.mkdir()
        secret.write_text("a password")
        assert run(["cat", str(secret)]).stdout == "a password"
        monkeypatch.setenv(isolation.HIDDEN, f"{secret.parent}{os.pathsep}{tmp_path / 'none'}")
        assert run(["cat", str(secret)]).returncode != 0
        assert run(["ls", str(secret.parent)]).stdout == ""

    def test_other_processes_are_out_of_sight(self) -> None:
        seen = run(["sh", "-c", "ls /proc | grep -c '^[0-9]'"])
        assert int(seen.stdout) < 6
        assert not Path(f"/proc/{os.getpid()}").samefile("/proc/1")

    def test_the_network_is_out_of_reach_unless_it_is_needed(self) -> None:
        links = ["sh", "-c", "ls /sys/class/net; cat /proc/net/dev | wc -l"]
        without, with_network = run(links), run(links, network=True)
        assert int(without.stdout.split()[-1]) <= int(with_network.stdout.split()[-1])
        assert run(["cat", "/proc/net/route"]).stdout.count("\n") <= 1


class TestEnvironment:
    def test_holds_no_secret(self, monkeypatch) -> None:
        for name in ("DATABASE_URL", "SECRET_KEY", "HF_TOKEN", "REDRAFT_FIELD_KEYS"):
            monkeypatch.setenv(name, "planted-canary")
        assert "planted-canary" not in "".join(child_environment().values())


class TestRequired:
    def test_refuses_to_run_unconfined_when_told_so(self, monkeypatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        monkeypatch.setenv("REDRAFT_REQUIRE_SANDBOX", "1")
        with pytest.raises(RuntimeUnavailable, match="bubblewrap"):
            confine(["true"], network=False)
        monkeypatch.delenv("REDRAFT_REQUIRE_SANDBOX")
        assert confine(["true"], network=False) == (["true"], "process_group")
