"""A task whose YAML names the grader is graded by it, in the task process."""

from __future__ import annotations

from pathlib import Path

from evaluators.tasks import TaskSpec, open_tasks

TASK = """
task: invented_algebra
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["</s>"], do_sample: false, max_gen_toks: 64}}
filter_list:
  - name: final-answer
    filter:
      - function: custom
        filter_fn: !function evaluators.grading.lm_eval.final_answers
      - function: take_first
process_results: !function evaluators.grading.lm_eval.process_results
metric_list:
  - {{metric: math_correct, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""

DOCS = """{"question": "Expand (x+1)^2.", "answer": "x^2+2x+1"}
{"question": "2^64?", "answer": "18446744073709551616"}
"""


async def test_grades_as_mathematics(tmp_path: Path) -> None:
    data = tmp_path / "docs.jsonl"
    data.write_text(DOCS, encoding="utf-8")
    (tmp_path / "invented_algebra.yaml").write_text(TASK.format(data=data), encoding="utf-8")
    spec = TaskSpec(name="invented_algebra")
    async with open_tasks([spec], include_paths=[tmp_path]) as tasks:
        task = tasks["invented_algebra"]
        assert task.info.metric == "math_correct"
        samples = await task.samples()
        replies = ["So \\boxed{(x+1)(x+1)}", "The final answer is $x^2+1$.", "I do not know that."]
        grades = await task.grade(samples[0].id, replies)
        assert [grade.correct for grade in grades] == [True, False, False]
        assert [grade.extracted for grade in grades] == ["(x+1)(x+1)", "x^2+1", None]
        endless = await task.grade(samples[1].id, ["\\boxed{9^{9^{9^{9}}}}", "2^{64}"])
        assert [grade.correct for grade in endless] == [False, True]
