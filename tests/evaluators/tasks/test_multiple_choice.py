"""Multiple-choice tasks in writing and by likelihood: prompts, options, grades, refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators.errors import BadTask, GradeError
from evaluators.model import ChoiceLikelihood
from evaluators.tasks import TaskSpec, open_tasks, resolve_modes
from evaluators.tasks.lettered import INSTRUCTION, letter_in
from evaluators.tasks.loading import OpenTask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

Write = Callable[..., Path]

CHOOSE = (
    "output_type: multiple_choice\n"
    'doc_to_text: "Q: {{q}}\\nAnswer:"\n'
    "doc_to_choice: \"{{[a, (n + 5)|string, 'none of them']}}\"\n"
    "doc_to_target: pick\n"
    "metric_list:\n"
    "- {metric: acc, aggregation: mean, higher_is_better: true}\n"
    "- {metric: acc_norm, aggregation: mean, higher_is_better: true}\n"
)


def opened(write: Write, more: str = "", **spec: Any) -> OpenTask:
    return OpenTask(TaskSpec("plus_one", **spec), write(more=CHOOSE + more))


def weigh(*logprobs: float) -> list[dict[str, object]]:
    return [
        {"text": f"option {i}", "logprob": logprob, "tokens": 1, "greedy": i == 1}
        for i, logprob in enumerate(logprobs)
    ]


class TestNames:
    @pytest.mark.parametrize(
        ("text", "spec", "key"),
        [
            ("arc_easy", TaskSpec("arc_easy"), "arc_easy"),
            ("a:likelihood", TaskSpec("a", mode="likelihood"), "a:likelihood"),
            ("a:generative", TaskSpec("a", mode="generative"), "a:generative"),
            ("a:generate_until", TaskSpec("a", mode="generate_until"), "a"),
        ],
    )
    def test_a_name_may_carry_the_mode(self, text: str, spec: TaskSpec, key: str) -> None:
        assert TaskSpec.parse(text) == spec
        assert (spec.key, TaskSpec.from_wire(spec.wire())) == (key, spec)

    def test_refuses_a_mode_that_does_not_exist(self) -> None:
        with pytest.raises(BadTask, match="there is no mode 'likelihod', only generate_until"):
            TaskSpec.parse("arc_easy:likelihod")

    def test_modes_are_filled_in_before_anything_is_loaded(self) -> None:
        specs = [TaskSpec.parse(name) for name in ("arc_easy", "arc_easy:likelihood", "gsm8k")]
        assert [spec.key for spec in resolve_modes(specs)] == [
            "arc_easy:generative",
            "arc_easy:likelihood",
            "gsm8k",
        ]

    async def test_both_modes_of_a_task_are_two_tasks(self, write: Write) -> None:
        folder = write(more=CHOOSE).parent
        specs = [TaskSpec("plus_one"), TaskSpec("plus_one", mode="likelihood")]
        async with open_tasks(specs, include_paths=[folder]) as tasks:
            written, weighed = tasks.values()
            assert [*tasks] == ["plus_one:generative", "plus_one:likelihood"]
            assert [task.info.name for task in tasks.values()] == [*tasks]
            assert [task.info.mode for task in tasks.values()] == ["generative", "likelihood"]
            assert written.info.digest != weighed.info.digest
            (sample,) = await weighed.samples(1)
            (letters,) = await written.samples(1)
            choices = [
                ChoiceLikelihood(text, -n, 1, False) for n, text in enumerate(sample.choices)
            ]
            (right,) = await weighed.grade("0", [choices])
            (spoken,) = await written.grade("0", ["A"])
        assert sample.task == "plus_one:likelihood"
        assert sample.choices == ("1", "5", "none of them")
        assert dict(letters.metadata) == {"labels": ["A", "B", "C"]}
        assert (right.correct, right.extracted, right.gold) == (True, "1", "1")
        assert (spoken.correct, spoken.extracted, spoken.gold) == (True, "A", "A")

    async def test_refuses_one_mode_twice(self, write: Write) -> None:
        folder = write(more=CHOOSE).parent
        specs = [TaskSpec("plus_one"), TaskSpec("plus_one", mode="generative")]
        with pytest.raises(BadTask, match="is named twice"):
            async with open_tasks(specs, include_paths=[folder]):
                pass


class TestWriting:
    def test_options_stand_under_the_question_with_their_letters(self, write: Write) -> None:
        (sample, *_) = opened(write).samples(2)
        (turn,) = sample["messages"]  # type: ignore[misc] # a list
        assert turn == {
            "role": "user",
            "content": f"Q: 0 + 1?\n\nA. 1\nB. 5\nC. none of them\n\n{INSTRUCTION}",
        }
        assert sample["question"] == [turn]
        assert sample["choices"] == ["1", "5", "none of them"]
        assert sample["metadata"] == {"labels": ["A", "B", "C"]}

    def test_examples_are_put_the_same_way_and_answered_with_their_letter(
        self, write: Write
    ) -> None:
        task = opened(write, "description: 'Add.'\n", num_fewshot=2, system_prompt="You add.")
        (sample, *_) = task.samples(1)
        system, asked, answer, *_, last = sample["messages"]  # type: ignore[misc] # a list
        assert system == {"role": "system", "content": "You add.\n\nAdd."}
        assert asked["content"].count(INSTRUCTION) == 1
        assert "\nA. " in asked["content"]
        assert answer == {"role": "assistant", "content": "A"}
        assert len(sample["messages"]) == 6  # type: ignore[arg-type] # as above
        assert last == sample["question"][0]  # type: ignore[index] # as above

    def test_all_may_stand_in_one_turn_or_in_plain_text(self, write: Write) -> None:
        path = write(more=CHOOSE)
        one = OpenTask(TaskSpec("plus_one", num_fewshot=1, fewshot_as_multiturn=False), path)
        plain = OpenTask(TaskSpec("plus_one", num_fewshot=1, chat=False), path)
        ((turn,),) = ([*s["messages"]] for s in one.samples(1))  # type: ignore[misc] # lists
        ((text,),) = ([*s["messages"]] for s in plain.samples(1))  # type: ignore[misc] # lists
        assert turn["content"].count(f"{INSTRUCTION}\nA\n\nQ: 0 + 1?") == 1
        assert text["content"].count("\nAnswer: A\n\nQ: 0 + 1?") == 1
        assert text["content"].endswith(f"{INSTRUCTION}\nAnswer:")
        assert plain.info()["sampling"]["stop"] == ["\n\n"]  # type: ignore[index, call-overload] # a mapping

    def test_letters_that_the_question_explains_are_not_listed_again(self, write: Write) -> None:
        task = opened(
            write,
            'doc_to_text: "{{q}}\\nA. one\\nB. two\\nAnswer:"\ndoc_to_choice: [A, B]\n',
        )
        (sample, *_) = task.samples(1)
        assert sample["messages"][0]["content"] == (  # type: ignore[index, call-overload] # a list
            f"0 + 1?\nA. one\nB. two\n\n{INSTRUCTION}"
        )

    def test_the_order_is_drawn_where_the_right_option_is_always_first(self, write: Write) -> None:
        task = opened(write, "doc_to_target: 0\n")
        samples = task.samples(None)
        golds = Counter(task.grade(i, ["A"])[0]["gold"] for i in range(12))
        assert len(golds) > 1
        for index, sample in enumerate(samples):
            (grade,) = task.grade(index, [str(index + 1)])
            assert grade["correct"]
            assert sample["choices"]["ABC".index(str(grade["gold"]))] == str(index + 1)  # type: ignore[index, call-overload] # a list
        again = OpenTask(TaskSpec("plus_one"), write(more=CHOOSE + "doc_to_target: 0\n"))
        assert again.samples(None) == samples

    def test_an_order_that_varies_is_kept(self, write: Write) -> None:
        for index, sample in enumerate(opened(write).samples(None)):
            assert sample["choices"] == [str(index + 1), str(index + 5), "none of them"]

    def test_it_grades_by_letter_or_by_text_and_counts_what_says_neither(
        self, write: Write
    ) -> None:
        task = opened(write)
        replies = ["A", "b", "1", "none of them", "I cannot say.", ""]
        grades = task.grade(0, replies)
        assert [grade["extracted"] for grade in grades] == ["A", "B", "A", "C", None, None]
        assert [grade["correct"] for grade in grades] == [True, False, True, False, False, False]
        assert grades[0]["scores"] == {"exact_match,letter": 1.0}
        assert grades[0]["extractions"] == {"letter": "A"}
        assert task.extract(0, "It is (C).") == "C"

    def test_labels_that_were_weighed_are_graded_as_the_likeliest(self, write: Write) -> None:
        labels = [
            {"text": letter, "logprob": logprob, "tokens": 1, "greedy": False}
            for letter, logprob in zip("ABC", (-3.0, -0.1, -2.0), strict=True)
        ]
        (grade,) = opened(write).grade(1, [labels])
        assert (grade["extracted"], grade["gold"], grade["correct"]) == ("B", "B", True)

    def test_several_right_options_are_all_right(self, write: Write) -> None:
        task = opened(write, "doc_to_target: '{{[0, 2]}}'\n")
        grades = task.grade(0, ["A", "B", "C"])
        assert Counter(grade["correct"] for grade in grades) == {True: 2, False: 1}


LETTERS = {
    "bare": ("B", "B"),
    "small": ("b", "B"),
    "dot": ("B.", "B"),
    "parenthesis": ("(B)", "B"),
    "bold": ("**B**", "B"),
    "with-its-text": ("B. beta", "B"),
    "with-another-text": ("B) whatever", "B"),
    "line": ("B\nbecause of it", "B"),
    "answer-line": ("Let me think. A is tempting.\nAnswer: B", "B"),
    "sentence": ("The answer is B.", "B"),
    "option": ("I would go for option B here", "B"),
    "inside": ("It must be (b), I think", "B"),
    "text": ("beta", "B"),
    "text-with-noise": ('"Beta."', "B"),
    "text-first-line": ("beta\nThat is why.", "B"),
    "text-after-answer": ("Answer: gamma ray", "C"),
    "last-answer-counts": ("Answer: A\nNo, wait. Answer: C", "C"),
    "article": ("A man is standing there", None),
    "pronoun": ("I do not know", None),
    "two-named": ("Either (A) or (B)", None),
    "not-an-option": ("D", None),
    "other-text": ("delta", None),
    "part-of-a-text": ("gamma", None),
    "empty": ("", None),
    "blank": (" \n ", None),
    "marker-alone": ("Answer:", None),
}


@pytest.mark.parametrize(("reply", "letter"), LETTERS.values(), ids=LETTERS.keys())
def test_letters_are_found(reply: str, letter: str | None) -> None:
    assert letter_in(reply, ["alpha", "beta", "gamma ray"]) == letter


@pytest.mark.parametrize("reply", ["(" * 100_000, "option " * 50_000, "answer: " * 50_000])
def test_no_reply_takes_long_to_read(reply: str) -> None:
    assert letter_in(reply, ["alpha", "beta"]) is None


class TestLikelihood:
    def test_it_shows_what_lm_eval_sends(self, write: Write) -> None:
        (sample, *_) = opened(write, mode="likelihood", num_fewshot=1).samples(1)
        *_, answer, question = sample["messages"]  # type: ignore[misc] # a list
        assert answer["role"] == "assistant"
        assert question == {"role": "user", "content": "Q: 0 + 1?\nAnswer:"}
        assert sample["choices"] == ["1", "5", "none of them"]
        assert "metadata" not in sample

    def test_plain_text_keeps_the_delimiter(self, write: Write) -> None:
        (sample, *_) = opened(write, mode="likelihood", chat=False).samples(1)
        assert sample["messages"] == [{"role": "user", "content": "Q: 0 + 1?\nAnswer:"}]
        assert sample["choices"] == [" 1", " 5", " none of them"]

    def test_it_keeps_every_metric(self, write: Write) -> None:
        task = opened(write, mode="likelihood")
        # "none of them" is likelier per letter, "1" as a whole.
        (grade,) = task.grade(0, [weigh(-2.0, -5.0, -3.0)])
        assert grade["scores"] == {"acc,none": 1.0, "acc_norm,none": 0.0}
        assert (grade["correct"], grade["extracted"], grade["gold"]) == (True, "1", "1")
        by_length = opened(write, mode="likelihood", metric="acc_norm")
        (other,) = by_length.grade(0, [weigh(-2.0, -5.0, -3.0)])
        assert (other["correct"], other["score"]) == (False, 0.0)

    def test_corpus_metrics_are_left_out_and_mutual_information_too(self, write: Write) -> None:
        more = (
            "metric_list:\n- {metric: acc, aggregation: mean, higher_is_better: true}\n"
            "- {metric: brier_score, aggregation: brier_score, higher_is_better: false}\n"
            "- {metric: acc_mutual_info, aggregation: mean, higher_is_better: true}\n"
        )
        task = opened(write, more, mode="likelihood")
        (grade,) = task.grade(1, [weigh(-2.0, -1.0, -3.0)])
        assert grade["scores"] == {"acc,none": 1.0}
        assert len(task.samples(1)[0]["choices"]) == 3  # type: ignore[arg-type] # a list

    def test_refuses_mutual_information_as_the_metric(self, write: Write) -> None:
        more = (
            "metric_list:\n- {metric: acc_mutual_info, aggregation: mean, higher_is_better: true}\n"
            "- {metric: acc, aggregation: mean, higher_is_better: true}\n"
        )
        with pytest.raises(BadTask) as caught:
            opened(write, more, mode="likelihood", metric="acc_mutual_info")
        assert caught.value.data["reason"] == (
            "acc_mutual_info needs the likelihoods of the options without their question, which "
            "are not asked for; metrics that can be: acc"
        )

    @pytest.mark.parametrize("answer", ["A", weigh(-1.0, -2.0), weigh(*[-1.0] * 4)])
    def test_refuses_to_grade_what_is_no_weighing_of_the_options(
        self, write: Write, answer: object
    ) -> None:
        task = opened(write, mode="likelihood")
        assert task.grade(0, [weigh(-1.0, -2.0, -3.0)])[0]["correct"]
        with pytest.raises(GradeError):
            task.grade(0, [answer])


REFUSED = {
    "several-prompts": (
        "doc_to_text: pick\ndoc_to_target: a\ndoc_to_choice: \"{{['one', 'two']}}\"\n",
        {},
        "puts every option into a prompt of its own; supported are options of one prompt",
    ),
    "several-prompts-weighed": (
        "doc_to_text: pick\ndoc_to_target: a\ndoc_to_choice: \"{{['one', 'two']}}\"\n",
        {"mode": "likelihood"},
        "puts every option into a prompt of its own; supported are options of one prompt",
    ),
    "own-scores-in-writing": (
        "process_results: !function functions.moody\n",
        {},
        "computes its score from likelihoods by code of its own; open it as plus_one:likelihood",
    ),
    "metric-in-writing": (
        "",
        {"metric": "acc_norm"},
        "has no metric 'acc_norm'; it has: exact_match",
    ),
    "filter-in-writing": ("", {"filter": "none"}, "has no filter 'none'; it has: letter"),
    "too-many-options": (
        "doc_to_choice: \"{{range(27)|map('string')|list}}\"\n",
        {},
        "prompt 0 cannot be rendered: ValueError: 27 options are more than there are letters",
    ),
    "no-mode-of-its-own": (
        "",
        {"mode": "generate_until"},
        "is a choice between options: say how it is to be put, as plus_one:generative or "
        "plus_one:likelihood",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("more", "spec", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_what_cannot_be_put_so(
    write: Write, more: str, spec: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadTask) as caught:
        opened(write, more, **spec)
    assert caught.value.data["reason"] == reason


@pytest.mark.parametrize("mode", ["generative", "likelihood"])
def test_refuses_options_of_a_task_without_any(write: Write, mode: Any) -> None:
    with pytest.raises(
        BadTask, match=f"has no options to choose from, so it cannot be put as {mode}"
    ):
        OpenTask(TaskSpec("plus_one", mode=mode), write())
