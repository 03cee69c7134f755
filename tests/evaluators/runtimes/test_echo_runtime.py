"""The whole way through a real child process on a real Unix socket, with the echo as the model."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from evaluators.errors import BadModel, CallRefused, NotInstalled, RuntimeUnavailable
from evaluators.model import ChatRequest, Message, Sampling, Usage, assistant, system, user
from evaluators.runtimes import ModelSpec, open_runtime, runtime_names

ECHO = ModelSpec("echo", "echo")


def ask(*messages: Message, **sampling: object) -> ChatRequest:
    return ChatRequest(messages, Sampling(**sampling))  # type: ignore[arg-type]  # a test's shorthand


def gone(pid: int) -> bool:
    """Tell whether the process has ended; a zombie nobody reaps counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def environment(pid: int) -> list[str]:
    """Return the process's environment as it was started."""
    return Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")


async def becomes(condition: object, *, within: float = 10.0) -> bool:
    """Wait for a condition that another process brings about."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]  # any callable
            return True
        await asyncio.sleep(0.02)
    return False


class TestAnswers:
    async def test_echoes_follows_scripts_and_counts_words(self) -> None:
        async with open_runtime(ECHO) as model:
            plain = await model.complete(ask(system("be brief"), user("two words")))
            script = user("Choose <<first|second|third>> now")
            turns = [script]
            texts = []
            for _ in range(4):
                texts.append((await model.complete(ask(*turns))).text)
                turns += [assistant(texts[-1]), user("And again?")]
        assert (plain.text, plain.finish_reason, plain.usage) == ("two words", "stop", Usage(4, 2))
        assert texts == ["first", "second", "third", "third"]

    async def test_continues_a_prefix_and_cuts(self) -> None:
        async with open_runtime(ECHO) as model:
            prefixed = await model.complete(ask(user("<<a|b>>"), assistant("It is")))
            long = await model.complete(ask(user("one two three"), max_tokens=2))
            stopped = await model.complete(ask(user("one two three"), stop=(" three", "two")))
        assert prefixed.text == "a"
        assert (long.text, long.finish_reason, long.usage.completion_tokens) == (
            "one two",
            "length",
            2,
        )
        assert (stopped.text, stopped.finish_reason) == ("one ", "stop")

    async def test_samples_by_seed_alone(self) -> None:
        spec = ModelSpec("echo", "echo", {"sample": True})
        script = user("<<a|b|c|d|e|f|g|h>>")
        async with open_runtime(spec) as model:
            drawn = [
                (await model.complete(ask(script, temperature=1.0, seed=s))).text for s in range(20)
            ]
            again = [
                (await model.complete(ask(script, temperature=1.0, seed=s))).text for s in range(20)
            ]
            greedy = (await model.complete(ask(script))).text
        assert drawn == again
        assert len(set(drawn)) > 3
        assert greedy == "a"

    async def test_carries_a_megabyte_nul_and_lone_surrogates(self) -> None:
        spec = ModelSpec("echo", "echo", {"context_window": 10_000_000})
        big = "x" * 1_200_000
        async with open_runtime(spec) as model:
            assert (await model.complete(ask(user(big)))).text == big
            odd = await model.complete(ask(user("a\0b\ud800c 😀")))
        assert odd.text == "a\0b\ufffdc 😀"

    async def test_serves_many_calls_at_a_time(self) -> None:
        spec = ModelSpec("echo", "echo", {"delay": 0.1}, batch_size=50)
        async with open_runtime(spec) as model:
            started = time.monotonic()
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(model.complete(ask(user(str(i))))) for i in range(50)]
            took = time.monotonic() - started
        assert [call.result().text for call in calls] == [str(i) for i in range(50)]
        assert took < 2.5  # one after the other would be five seconds


class TestFacts:
    async def test_info_and_fingerprint(self) -> None:
        async with open_runtime(
            ModelSpec("echo", "echo", {"context_window": 99}, batch_size=3)
        ) as model:
            assert model.context_window == 99
            assert model.capabilities == {
                "chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo",
            }  # fmt: skip
            assert (model.info.batch_size, model.info.label, model.info.dtype) == (
                3,
                "echo",
                "text",
            )
            assert model.info.isolation in {"bwrap", "process_group"}
            first = model.fingerprint
        async with open_runtime(
            ModelSpec("echo", "echo", {"context_window": 99}, batch_size=7)
        ) as model:
            assert model.fingerprint == first
        async with open_runtime(ModelSpec("echo", "echo", {"context_window": 98})) as model:
            assert model.fingerprint != first

    async def test_lacks_what_it_is_told_to_lack(self) -> None:
        spec = ModelSpec("echo", "echo", {"capabilities": "chat+prefix"})
        async with open_runtime(spec) as model:
            assert model.capabilities == {"chat", "prefix"}

    def test_is_listed_with_its_distribution(self) -> None:
        assert {"echo", "lm-eval"} <= set(runtime_names())


class TestRefusals:
    async def test_refuses_what_does_not_fit(self) -> None:
        async with open_runtime(ModelSpec("echo", "echo", {"context_window": 10})) as model:
            with pytest.raises(CallRefused) as caught:
                await model.complete(ask(user("one two three four five"), max_tokens=6))
            fits = await model.complete(ask(user("one two three four five"), max_tokens=5))
        assert caught.value.data["status"] == 400
        expected = (
            "the prompt has 5 tokens and max_tokens is 6: together 11, "
            "more than the context window of 10"
        )
        assert caught.value.data["reason"] == expected
        assert fits.text == "one two three four five"

    async def test_refuses_an_unknown_runtime(self) -> None:
        with pytest.raises(NotInstalled, match="Did you mean echo"):
            async with open_runtime(ModelSpec("ecko", "echo")):
                pass

    @pytest.mark.parametrize(
        "args",
        [
            {"dealy": 1},
            {"delay": "slow"},
            {"delay": -1},
            {"sample": 1},
            {"delay": True},
            {"capabilities": 1},
            {"capabilities": "chat+telepathy"},
            {"capabilities": ""},
        ],
    )
    async def test_refuses_bad_arguments_before_starting(self, args: dict[str, int | str]) -> None:
        with pytest.raises(BadModel, match=next(iter(args))):
            async with open_runtime(ModelSpec("echo", "echo", args)):
                pass

    async def test_refuses_a_socket_folder_with_a_long_path(self, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 100)
        deep.mkdir()
        with pytest.raises(RuntimeUnavailable, match="too long"):
            async with open_runtime(ECHO, socket_dir=deep):
                pass
        assert list(deep.iterdir()) == []


class TestLifeAndDeath:
    async def test_leaves_nothing_behind(self, tmp_path: Path) -> None:
        short = Path(os.environ.get("TMPDIR", "/tmp")) / f"rt{os.getpid()}"  # noqa: S108 - made and removed here
        short.mkdir(mode=0o700)
        try:
            async with open_runtime(ECHO, socket_dir=short, log_path=tmp_path / "log") as model:
                (folder,) = short.iterdir()
                assert folder.stat().st_mode & 0o777 == 0o700
                assert model.alive()
                pid = model.pid
            assert gone(pid)
            assert not model.alive()
            assert list(short.iterdir()) == []
        finally:
            short.rmdir()
        with pytest.raises(RuntimeUnavailable):
            await model.complete(ask(user("too late")))

    async def test_a_kill_fails_the_calls_in_flight(self) -> None:
        async with open_runtime(ModelSpec("echo", "echo", {"delay": 60})) as model:
            call = asyncio.create_task(model.complete(ask(user("hello"))))
            await asyncio.sleep(0.2)
            await model.kill()
            with pytest.raises(RuntimeUnavailable):
                await call
            assert await model.wait_dead() == -signal.SIGKILL
            assert not model.alive()
            with pytest.raises(RuntimeUnavailable):
                await model.complete(ask(user("hello")))

    async def test_a_crash_fails_the_call_and_later_ones(self) -> None:
        async with open_runtime(ModelSpec("echo", "echo", {"fail_after": 2})) as model:
            for _ in range(2):
                assert (await model.complete(ask(user("fine")))).text == "fine"
            for _ in range(2):
                with pytest.raises(RuntimeUnavailable):
                    await model.complete(ask(user("not fine")))
            assert await model.wait_dead() == 9

    async def test_a_cancelled_call_frees_its_row(self) -> None:
        spec = ModelSpec("echo", "echo", {"delay": 1.5}, batch_size=1)
        async with open_runtime(spec) as model:
            given_up = [asyncio.create_task(model.complete(ask(user("x")))) for _ in range(5)]
            await asyncio.sleep(0.3)
            for call in given_up:
                call.cancel()
            started = time.monotonic()
            assert (await model.complete(ask(user("mine")))).text == "mine"
        assert time.monotonic() - started < 3.0  # behind five calls of 1.5 s it would be over 7 s

    @pytest.mark.faults
    async def test_no_child_outlives_a_parent_killed_with_sigkill(self, tmp_path: Path) -> None:
        script = tmp_path / "parent.py"
        script.write_text(
            "import asyncio\n"
            "from evaluators.runtimes import ModelSpec, open_runtime\n"
            "async def main():\n"
            "    async with open_runtime(ModelSpec('echo', 'echo')) as model:\n"
            "        print(model.pid, flush=True)\n"
            "        await asyncio.sleep(600)\n"
            "asyncio.run(main())\n"
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        parent = await asyncio.create_subprocess_exec(
            sys.executable, str(script), stdout=asyncio.subprocess.PIPE, env=env
        )
        assert parent.stdout is not None
        child = int(await parent.stdout.readline())
        assert not gone(child)
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
        assert await becomes(lambda: gone(child))

    async def test_the_child_sees_no_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            "DATABASE_URL",
            "HF_TOKEN",
            "SECRET_KEY",
            "CELERY_BROKER_URL",
            "OPENAI_API_KEY",
        ):
            monkeypatch.setenv(name, "canary")
        async with open_runtime(ECHO) as model:
            environ = environment(model.pid)
        seen = dict(entry.split("=", 1) for entry in environ if entry)
        assert "canary" not in seen.values()
        assert seen["HF_HUB_OFFLINE"] == "1"
