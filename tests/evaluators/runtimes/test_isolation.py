"""What a confined child cannot see."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluators.errors import RuntimeUnavailable
from evaluators.runtimes import isolation
from evaluators.runtimes.isolation import child_environment, confine

CONFINED = confine(["true"], network=False)[1] == "bwrap"
needs_bwrap = pytest.mark.skipif(not CONFINED, reason="bubblewrap is missing or blocked here")


def run(
    command: list[str], *, network: bool = False, **folders: list[Path]
) -> subprocess.CompletedProcess[str]:
    wrapped, _ = confine(command, network=network, **folders)
    return subprocess.run(wrapped, capture_output=True, text=True, check=False)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that is in no folder for temporary files."""
    var = Path(__file__).parents[3] / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var) as folder:
        yield Path(folder)


@needs_bwrap
class TestConfined:
    def test_hidden_folders_are_empty(self, outside: Path, monkeypatch) -> None:
        secret = outside / "postgres" / "url"
        secret.parent.mkdir()
        secret.write_text("a password")
        assert run(["cat", str(secret)]).stdout == "a password"
        monkeypatch.setenv(isolation.HIDDEN, f"{secret.parent}{os.pathsep}{outside / 'none'}")
        assert run(["cat", str(secret)]).returncode != 0
        assert run(["ls", str(secret.parent)]).stdout == ""

    def test_folders_can_only_be_read_unless_they_are_named(self, outside: Path) -> None:
        mine, theirs = outside / "mine", outside / "theirs"
        mine.mkdir()
        theirs.mkdir()
        touch = ["sh", "-c", f"touch {mine}/a; touch {theirs}/a"]
        assert "Read-only" in run(touch, writable=[mine]).stderr
        assert [path.name for path in outside.rglob("a")] == ["a"]
        assert (mine / "a").exists()

    def test_temporary_files_are_its_own(self, tmp_path: Path) -> None:
        named, unnamed = tmp_path / "named", tmp_path / "unnamed"
        for folder in (named, unnamed):
            folder.mkdir()
            (folder / "file").write_text(folder.name)
        seen = run(["sh", "-c", f"cat {tmp_path}/*/file; touch {tmp_path}/mine"], readable=[named])
        assert seen.stdout == "named"
        assert run(["sh", "-c", f"echo no > {named}/file"], readable=[named]).returncode != 0
        assert not (tmp_path / "mine").exists()
        seen = run(["sh", "-c", "touch $TMPDIR/a && ls $TMPDIR"]).stdout.split()
        # a checkout that lies among the temporary files is seen there, and nothing beside it
        assert set(seen) - set(Path(__file__).parts) == {"a"}

    def test_it_holds_no_capability_even_when_we_are_root(self) -> None:
        status = run(["cat", "/proc/self/status"]).stdout
        held = {
            line.split(":")[0]: line.split()[1] for line in status.splitlines() if "Cap" in line
        }
        assert int(held["CapEff"], 16) == int(held["CapPrm"], 16) == 0

    def test_sockets_of_services_are_out_of_sight(self) -> None:
        assert run(["ls", "/run"]).stdout == ""

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
