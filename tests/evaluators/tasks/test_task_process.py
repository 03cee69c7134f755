"""Code that hangs, dies or misbehaves in the task process costs one answer, never the run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from evaluators.errors import BadTask, GradeError
from evaluators.ports import Task
from evaluators.tasks import TaskSpec, open_tasks

MOODY = "process_results: !function functions.moody"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def moody(
    write_into: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Task]:
    """A task that does what the answer says, opened with a short patience."""
    folder = write_into(tmp_path_factory.mktemp("moody"), "moody", MOODY).parent
    async with open_tasks([TaskSpec("moody")], include_paths=[folder], grade_timeout=1.5) as tasks:
        yield tasks["moody"]


async def pid_of(task: Task) -> int:
    (grade,) = await task.grade("0", ["pid"])
    return int(grade.score)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.asyncio(loop_scope="module")
class TestGrading:
    async def test_grades_several_answers_to_one_sample(self, moody: Task) -> None:
        grades = await moody.grade("4", ["5", "6", ""])
        assert [(g.correct, g.score, g.extracted, g.gold) for g in grades] == [
            (True, 1.0, "5", "5"),
            (False, 0.0, "6", "5"),
            (False, 0.0, None, "5"),
        ]
        assert grades[0].scores == {"exact_match,none": 1.0}
        assert grades[0].extractions == {"none": "5"}
        assert await moody.extract("4", " 7") == " 7"

    @pytest.mark.parametrize("mood", ["hang", "backtrack"])
    async def test_a_grader_that_hangs_is_killed_and_the_next_answer_is_graded(
        self, moody: Task, mood: str
    ) -> None:
        first = await pid_of(moody)
        start = time.monotonic()
        with pytest.raises(GradeError) as caught:
            await moody.grade("0", [mood])
        assert 1.4 < time.monotonic() - start < 5
        assert caught.value.data == {
            "task": "moody",
            "reason": "took longer than 1.5 s and was stopped",
        }
        assert (await moody.grade("0", ["1"]))[0].correct
        assert await pid_of(moody) != first
        assert not alive(first)

    async def test_a_grader_that_dies_is_replaced_and_its_last_words_are_kept(
        self, moody: Task
    ) -> None:
        with pytest.raises(GradeError) as caught:
            await moody.grade("0", ["die"])
        assert caught.value.data["reason"] == (
            "the grading process died (exit status 3: out of cheese)"
        )
        assert (await moody.grade("0", ["1"]))[0].correct

    async def test_a_killed_process_is_replaced(self, moody: Task) -> None:
        os.kill(await pid_of(moody), signal.SIGKILL)
        with pytest.raises(GradeError) as caught:
            await moody.grade("0", ["1"])
        assert caught.value.data["reason"] == "the grading process died (SIGKILL)"
        assert (await moody.grade("0", ["1"]))[0].correct

    async def test_a_grader_that_raises_costs_only_its_answer(self, moody: Task) -> None:
        first = await pid_of(moody)
        with pytest.raises(GradeError) as caught:
            await moody.grade("3", ["raise"])
        assert caught.value.data == {
            "task": "moody",
            "reason": "RuntimeError: the grader does not like it",
        }
        assert await pid_of(moody) == first

    async def test_a_score_that_is_no_number_is_an_error_not_a_zero(self, moody: Task) -> None:
        with pytest.raises(GradeError) as caught:
            await moody.grade("3", ["nan"])
        assert caught.value.data["reason"] == "metric 'exact_match' gave no number for this answer"

    async def test_a_task_that_prints_and_reads_disturbs_nothing(self, moody: Task) -> None:
        assert [(await moody.grade("0", ["talk"]))[0].score for _ in range(3)] == [0.0] * 3

    async def test_many_answers_at_once_with_a_hanging_one_among_them(self, moody: Task) -> None:
        async def grade(number: int) -> bool | str:
            try:
                (grade,) = await moody.grade(str(number % 12), ["hang" if number == 20 else "5"])
            except GradeError:
                return "error"
            return grade.correct

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(grade(number)) for number in range(40)]
        results = [task.result() for task in tasks]
        assert results == ["error" if n == 20 else n % 12 == 4 for n in range(40)]

    async def test_many_slow_answers_at_once_are_no_hanging_grader(self, moody: Task) -> None:
        first = await pid_of(moody)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(moody.grade("4", ["nap"])) for _ in range(20)]
        assert [grade.score for task in tasks for grade in task.result()] == [0.0] * 20
        assert await pid_of(moody) == first

    async def test_one_that_kills_the_process_costs_only_itself(self, moody: Task) -> None:
        async def grade(text: str) -> bool | str:
            try:
                (grade,) = await moody.grade("4", [text])
            except GradeError as error:
                return str(error.data["reason"])
            return grade.correct

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(grade(text)) for text in ("5", "6", "die", "5")]
        died = "the grading process died (exit status 3: out of cheese)"
        assert [task.result() for task in tasks] == [True, False, died, True]

    async def test_a_cancelled_caller_does_not_put_the_replies_out_of_step(
        self, moody: Task
    ) -> None:
        for _ in range(5):
            call = asyncio.create_task(moody.grade("1", ["talk"]))
            await asyncio.sleep(0)
            call.cancel()
            (grade,) = await moody.grade("4", ["5"])
            assert (grade.correct, grade.gold) == (True, "5")

    @pytest.mark.parametrize(
        "text",
        [
            "\0" * 10,
            "\ud800 5 \udfff",
            "x" * 1_000_000,
            "\u0665",
            "9" * 10_000,
            "\x1b[2J\r\n",
            "😀",
        ],
        ids=["nul", "surrogates", "megabyte", "arabic-digit", "long-number", "control", "emoji"],
    )
    async def test_strange_answers_are_graded(self, moody: Task, text: str) -> None:
        (grade,) = await moody.grade("4", [text])
        assert grade.score == 0.0
        extracted = grade.extracted or ""
        assert len(extracted) <= 10_000
        extracted.encode()
        assert "\0" not in extracted

    @pytest.mark.parametrize("sample", ["12", "-1", "", "x", "\u0665", "1.0"])
    async def test_refuses_a_sample_that_is_not_there(self, moody: Task, sample: str) -> None:
        with pytest.raises(GradeError, match="there is no sample"):
            await moody.grade(sample, ["5"])
        with pytest.raises(GradeError, match="there is no sample"):
            await moody.extract(sample, "5")


async def test_grading_does_not_wait_until_all_prompts_are_rendered(
    write: Callable[..., Path],
) -> None:
    path = write("slow", "custom_dataset: !function slow.documents\nfewshot_split: null\n"
                 "doc_to_text: !function slow.slowly")  # fmt: skip
    (path.parent / "slow.py").write_text(
        "import time\n"
        "from datasets import Dataset\n"
        "def documents(**_):\n"
        "    return {'test': Dataset.from_list([{'q': str(n), 'a': str(n)} for n in range(200)])}\n"
        "def slowly(doc):\n"
        "    time.sleep(0.01)\n"
        "    return doc['q']\n"
    )
    async with open_tasks([TaskSpec("slow")], include_paths=[path.parent]) as tasks:
        rendering = asyncio.create_task(tasks["slow"].samples())
        await asyncio.sleep(0.1)
        (grade,) = await tasks["slow"].grade("7", ["7"])
        assert grade.correct
        assert not rendering.done()
        samples = await rendering
        again = await tasks["slow"].samples(120)
        with pytest.raises(BadTask, match="limit 201 is not between 1 and 200"):
            await tasks["slow"].samples(201)
    assert [sample.id for sample in samples] == [str(n) for n in range(200)]
    assert again == samples[:120]


class TestSeveralTasks:
    async def test_a_task_that_hangs_holds_up_no_other(
        self, write_into: Callable[..., Path], tmp_path: Path
    ) -> None:
        for name in ("moody", "calm"):
            write_into(tmp_path, name, MOODY)
        specs = [TaskSpec("moody"), TaskSpec("calm")]
        async with open_tasks(specs, include_paths=[tmp_path], grade_timeout=3.0) as tasks:
            moody, calm = tasks.values()
            pids = [await pid_of(task) for task in (moody, calm)]
            hanging = asyncio.create_task(moody.grade("0", ["backtrack"]))
            await asyncio.sleep(0.2)
            assert (await calm.grade("4", ["5"]))[0].correct
            assert not hanging.done()
            with pytest.raises(GradeError, match="took longer than 3 s"):
                await hanging
            assert await pid_of(calm) == pids[1]
            assert await pid_of(moody) != pids[0]
        assert len({*pids}) == 2
        assert not any(map(alive, pids))

    async def test_a_host_that_dies_is_replaced(self, write: Callable[..., Path]) -> None:
        folder = write("moody", MOODY).parent
        async with open_tasks([TaskSpec("moody")], include_paths=[folder]) as tasks:
            pid = await pid_of(tasks["moody"])
            os.kill(parent_of(pid), signal.SIGKILL)
            with pytest.raises(GradeError, match="the grading process died"):
                await tasks["moody"].grade("0", ["1"])
            assert (await tasks["moody"].grade("0", ["1"]))[0].correct
            assert not alive(pid)

    async def test_one_that_cannot_be_opened_ends_them_all(
        self, write_into: Callable[..., Path], tmp_path: Path
    ) -> None:
        write_into(tmp_path, "moody", MOODY)
        write_into(tmp_path, "broken", "custom_dataset: !function functions.unreachable")
        before = children()
        with pytest.raises(BadTask, match="'broken': its data set cannot be fetched"):
            async with open_tasks(
                [TaskSpec("moody"), TaskSpec("broken")], include_paths=[tmp_path]
            ):
                pass
        assert children() == before


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children() -> set[str]:
    """Return this process's children that live."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in found if alive(int(pid))}


class TestProcess:
    async def test_it_ends_with_the_block(self, write: Callable[..., Path]) -> None:
        folder = write("moody", MOODY).parent
        async with open_tasks([TaskSpec("moody")], include_paths=[folder]) as tasks:
            pid = await pid_of(tasks["moody"])
            assert alive(pid)
        assert not alive(pid)

    async def test_it_ends_when_the_block_is_left_while_it_hangs(
        self, write: Callable[..., Path]
    ) -> None:
        folder = write("moody", MOODY).parent
        async with open_tasks([TaskSpec("moody")], include_paths=[folder]) as tasks:
            pid = await pid_of(tasks["moody"])
            call = asyncio.create_task(tasks["moody"].grade("0", ["backtrack"]))
            await asyncio.sleep(0.3)
        assert not alive(pid)
        with pytest.raises(asyncio.CancelledError):
            await call

    @pytest.mark.parametrize("mood", ["1", "backtrack"])
    def test_it_does_not_outlive_a_killed_parent(
        self, write: Callable[..., Path], mood: str
    ) -> None:
        folder = write("moody", MOODY).parent
        script = f"""
import asyncio
from evaluators.tasks import TaskSpec, open_tasks
async def main():
    async with open_tasks([TaskSpec("moody")], include_paths=[{str(folder)!r}]) as tasks:
        (grade,) = await tasks["moody"].grade("0", ["pid"])
        print(int(grade.score), flush=True)
        await tasks["moody"].grade("0", [{mood!r}])
        await asyncio.sleep(60)
asyncio.run(main())
"""
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        try:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            time.sleep(0.3)
            assert alive(child)
        finally:
            parent.kill()
            parent.communicate()
        deadline = time.monotonic() + 3
        while alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(child)

    def test_this_process_never_imports_lm_eval(self, write: Callable[..., Path]) -> None:
        folder = write("moody", MOODY).parent
        script = f"""
import asyncio, sys
from evaluators.tasks import TaskSpec, list_tasks, load_suite, open_tasks
async def main():
    async with open_tasks([TaskSpec("moody")], include_paths=[{str(folder)!r}]) as tasks:
        await tasks["moody"].samples(2)
list_tasks()
asyncio.run(main())
heavy = {{"lm_eval", "datasets", "reasoning_gym", "torch", "transformers"}}
print(sorted(heavy & sys.modules.keys()))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert (done.stdout, done.stderr) == ("[]\n", "")

    async def test_task_code_sees_no_secrets(
        self, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://secret")
        monkeypatch.setenv("REDRAFT_FIELD_KEYS", "secret")
        folder = write("spy", "process_results: !function functions.secrets").parent
        async with open_tasks([TaskSpec("spy")], include_paths=[folder]) as tasks:
            grades = await tasks["spy"].grade("0", ["DATABASE_URL", "REDRAFT_FIELD_KEYS", "PATH"])
        assert [grade.score for grade in grades] == [0.0, 0.0, 1.0]

    async def test_a_grandchild_that_escapes_does_not_hold_up_the_end(
        self, write: Callable[..., Path]
    ) -> None:
        path = write("fork", "process_results: !function fork.process_results")
        (path.parent / "fork.py").write_text(
            "import subprocess\n"
            "def process_results(doc, results):\n"
            "    kept = subprocess.Popen(['sleep', '30'], start_new_session=True)\n"
            "    return {'exact_match': float(kept.pid)}\n"
        )
        async with open_tasks([TaskSpec("fork")], include_paths=[path.parent]) as tasks:
            (grade,) = await tasks["fork"].grade("0", ["x"])
            start = time.monotonic()
        assert time.monotonic() - start < 10
        os.kill(int(grade.score), signal.SIGKILL)

    async def test_tasks_that_cannot_be_opened_again_cost_an_answer(
        self, write: Callable[..., Path]
    ) -> None:
        path = write("moody", MOODY)
        async with open_tasks([TaskSpec("moody")], include_paths=[path.parent]) as tasks:
            with pytest.raises(GradeError):
                await tasks["moody"].grade("0", ["die"])
            path.unlink()
            with pytest.raises(GradeError, match="No task named 'moody' is installed"):
                await tasks["moody"].grade("0", ["1"])
            write("moody", MOODY)
            assert (await tasks["moody"].grade("0", ["1"]))[0].correct

    async def test_refuses_a_task_whose_file_kills_the_process(
        self, write: Callable[..., Path]
    ) -> None:
        path = write("deadly", "custom_dataset: !function deadly.documents")
        (path.parent / "deadly.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
        with pytest.raises(BadTask) as caught:
            async with open_tasks([TaskSpec("deadly")], include_paths=[path.parent]):
                pass
        assert caught.value.data == {
            "task": "deadly",
            "reason": "loading it failed: the grading process died (SIGKILL)",
        }


class TestImport:
    def test_importing_the_package_is_cheap(self) -> None:
        script = """
import sys, time, evaluators
start = time.process_time()
import evaluators.tasks
print(time.process_time() - start)
print(sorted({"asyncio", "yaml", "lm_eval", "datasets"} & sys.modules.keys()))
"""
        times = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True
            )
            seconds, heavy = done.stdout.splitlines()
            assert heavy == "[]"
            times.append(float(seconds))
        assert min(times) < 0.05
