"""What a loaded task says of itself: settings as lm-eval reads them, and a digest that tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.model import Sampling
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.tasks.loading import OpenTask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

Write = Callable[..., Path]

SAMPLING = {
    "greedy": (
        '{until: ["\\n"], max_gen_toks: 20, do_sample: false}',
        Sampling(20, stop=("\n",)),
    ),
    "one-stop": ("{until: 'Q:'}", Sampling(256, stop=("Q:",))),
    "no-stop": ("{until: [], temperature: 0.0}", Sampling(256)),
    "stops-left-out": ("{max_tokens: 7}", Sampling(7, stop=("\n\n",))),
    "sampled": (
        "{until: ['a', ''], do_sample: true, temperature: 0.7, top_p: 0.9, max_new_tokens: 99}",
        Sampling(99, 0.7, 0.9, ("a",)),
    ),
    "greedy-in-spite-of-temperature": (
        "{until: [], do_sample: false, temperature: 0.7}",
        Sampling(256),
    ),
    "sampled-by-temperature": ("{until: [], temperature: 0.5}", Sampling(256, 0.5)),
    "first-limit-counts": ("{until: [], max_tokens: 5, max_gen_toks: 6}", Sampling(6)),
}  # fmt: skip


def as_sampling(fields: Any) -> Sampling:
    return Sampling(**{**fields, "stop": tuple(fields["stop"])})


class TestSampling:
    @pytest.mark.parametrize(("settings", "expected"), SAMPLING.values(), ids=SAMPLING.keys())
    def test_generation_settings_are_read_as_lm_eval_reads_them(
        self, write: Write, settings: str, expected: Sampling
    ) -> None:
        path = write(more=f"generation_kwargs: {settings}")
        assert as_sampling(OpenTask(TaskSpec("plus_one"), path).info()["sampling"]) == expected

    def test_settings_left_out_altogether_are_lm_evals_default(self, write: Write) -> None:
        path = write(more="generation_kwargs: null")
        sampling = as_sampling(OpenTask(TaskSpec("plus_one"), path).info()["sampling"])
        assert sampling == Sampling(256, stop=("\n\n",))

    def test_the_spec_may_set_the_token_limit(self, write: Write) -> None:
        info = OpenTask(TaskSpec("plus_one", max_tokens=3), write()).info()
        assert as_sampling(info["sampling"]) == Sampling(3, stop=("\n",))


class TestInfo:
    async def test_it_reaches_the_caller(self, write: Write) -> None:
        spec = TaskSpec("plus_one", num_fewshot=2, threshold=0.5)
        async with open_tasks([spec], include_paths=[write().parent]) as tasks:
            info = tasks["plus_one"].info
            samples = await tasks["plus_one"].samples(2)
        assert replace(info, digest="", config=None).__repr__() == (
            "TaskInfo(name='plus_one', version='3.5', size=12, sampling=Sampling(max_tokens=20, "
            "temperature=0.0, top_p=1.0, stop=('\\n',), seed=None, logprobs=None), "
            "metric='exact_match', filter='none', threshold=0.5, num_fewshot=2, "
            "summary='Adding one', digest='', filters=('none',), config=None, "
            "mode='generate_until', overlong='unscored')"
        )
        assert json.loads(json.dumps(info.config))["doc_to_text"] == "Q: {{q}}"
        assert [(s.id, s.task, len(s.messages)) for s in samples] == [
            ("0", "plus_one", 5),
            ("1", "plus_one", 5),
        ]
        assert samples[1].question[0].content == "Q: 1 + 1?"

    def test_the_threshold_decides_what_is_correct(self, bundled: Path) -> None:
        path = bundled / "rg_spell_backward.yaml"
        strict, mild = (
            OpenTask(TaskSpec("rg_spell_backward", threshold=t), path).grade(
                0, ["Answer: axxxxxxx"]
            )
            for t in (1.0, 0.1)
        )
        assert (strict[0]["correct"], mild[0]["correct"]) == (False, True)
        assert strict[0]["score"] == mild[0]["score"] == pytest.approx(1 / 8)

    def test_a_filters_own_fallback_means_nothing_found(self, write: Write) -> None:
        more = (
            "filter_list:\n- name: number\n  filter:\n"
            "  - {function: regex, regex_pattern: '(\\d+)', fallback: nope}\n"
            "  - {function: take_first}"
        )
        task = OpenTask(TaskSpec("plus_one"), write(more=more))
        assert [task.extract(0, text) for text in ("5", "five", "", "[invalid]")] == [
            "5", None, None, None,
        ]  # fmt: skip


class TestDigest:
    def digest(self, path: Path, **changes: Any) -> object:
        return OpenTask(TaskSpec("plus_one", **changes), path).info()["digest"]

    def test_it_is_the_same_wherever_the_file_lies(
        self, write_into: Callable[..., Path], tmp_path: Path
    ) -> None:
        paths = []
        for name in ("here", "there"):
            (tmp_path / name).mkdir()
            more = "process_results: !function functions.moody"
            paths.append(write_into(tmp_path / name, more=more))
        assert self.digest(paths[0]) == self.digest(paths[1])

    @pytest.mark.parametrize(
        "more",
        ["doc_to_text: '{{q}}'", "process_docs: !function functions.process_docs", "repeats: 2"],
    )
    def test_another_configuration_is_another_task(self, write: Write, more: str) -> None:
        before = self.digest(write())
        assert self.digest(write(more=more)) != before

    @pytest.mark.parametrize(
        "changes",
        [{"num_fewshot": 1}, {"system_prompt": "Hm."}, {"threshold": 0.5}, {"max_tokens": 3}],
        ids=str,
    )
    def test_another_way_to_put_it_is_another_task(
        self, write: Write, changes: dict[str, Any]
    ) -> None:
        path = write()
        assert self.digest(path, **changes) != self.digest(path)

    def test_other_documents_are_another_task(self, write: Write) -> None:
        path = write()
        before = self.digest(path)
        functions = path.with_name("functions.py")
        functions.write_text(functions.read_text().replace("range(12)", "range(1, 13)"))
        assert self.digest(path) != before
