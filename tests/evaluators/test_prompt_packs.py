"""Prompt packs: what stands in for what, what is refused, and what a result keeps of them."""

import json
import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.cards import find_packs, folder_problem, installed_prompts, open_pack, pack_for
from evaluators.cli import run_command
from evaluators.engine import evaluate
from evaluators.errors import BadFile, BadTask, NotInstalled
from evaluators.formats.folder import read_folder
from evaluators.formats.lm_eval_reading import read_lm_eval
from evaluators.model import Sample, SampleResult, system, user
from evaluators.registry import load_evaluator
from evaluators.strategies import Prompt
from evaluators.strategies.packs import PACK, PromptPack, read_pack, write_pack
from evaluators.strategies.parity import MARKERS, demands, require_parity
from evaluators.strategies.prompts import Replacements
from evaluators.testing import ScriptedModel, ScriptedTask

KNOWN = {
    ("family", "method/ask"): Prompt("method/ask", "What of $answer?", "family"),
    ("family", "method/again"): Prompt("method/again", "Once more.", "family"),
}
ABOUT = 'name = "paper"\nversion = "2"\nsource = "2303.17651"\n'
ECHO = ["--model", "echo", "--task", "echo_flips", "--no-controls"]
REVIEW = "redraft_self_correction/review_improve"


def pack_at(folder: Path, about: str = ABOUT, **files: str) -> Path:
    """Write a pack; file names have `__` for a slash."""
    folder.mkdir(exist_ok=True)
    (folder / PACK).write_text(about)
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def pack_of(text: str, *, info_parity: bool = True) -> PromptPack:
    prompt = Prompt("method/again", text, "family")
    prompts = {("family", "method/again"): prompt}
    return PromptPack("paper", "1", prompts, KNOWN, "digest", info_parity=info_parity)


def sample(*texts: str) -> Sample:
    chat = tuple(map(user, texts))
    return Sample("0", "sums", (system("Be brief."), *chat), chat[-1:])


class TestFolder:
    """An operator's folder of packs."""

    def test_finds_each_pack_and_says_why_others_are_none(self, tmp_path: Path) -> None:
        pack_at(tmp_path / "b", family__method__again="Do it again.")
        pack_at(tmp_path / "a", 'name = "other"\nversion = "1"\n', family__method__agin="Again.")
        pack_at(tmp_path / ".git")
        (tmp_path / "c").mkdir()
        (tmp_path / "README.md").write_text("Our packs")
        refused, found, empty = find_packs(tmp_path, KNOWN)
        assert (refused.folder, refused.name, refused.pack) == ("a", "a", None)
        assert refused.problem == (
            "a/family/method/agin.txt: no prompt 'family/method/agin' is installed."
            " Did you mean family/method/again or family/method/ask?"
        )
        assert (found.folder, found.name, found.problem) == ("b", "paper", "")
        assert open_pack(tmp_path, "paper", KNOWN) == found.pack
        assert empty.problem == "c/pack.toml: no prompt pack: No such file or directory"

    def test_knows_the_installed_prompts(self, tmp_path: Path) -> None:
        pack_at(tmp_path / "mine", **{f"{REVIEW}/improve".replace("/", "__"): "Mend it."})
        (found,) = find_packs(tmp_path)
        assert found.pack is not None
        fitting = pack_for(found.pack, [load_evaluator("review_improve")])
        assert [prompt.text for prompt in fitting.prompts.values()] == ["Mend it."]
        assert not pack_for(found.pack, [load_evaluator("self_refine")]).prompts

    def test_refuses_two_of_one_name(self, tmp_path: Path) -> None:
        for folder in "ab":
            pack_at(tmp_path / folder, family__method__again="Do it again.")
        problem = "a and b are both called 'paper'; a name belongs to one pack"
        assert [one.problem for one in find_packs(tmp_path, KNOWN)] == [problem, problem]
        with pytest.raises(BadFile, match="both called"):
            open_pack(tmp_path, "paper", KNOWN)

    @pytest.mark.parametrize("exposed", ["mine", "mine/family", "mine/family/method/again.txt"])
    def test_refuses_texts_that_others_may_change(self, tmp_path: Path, exposed: str) -> None:
        pack_at(tmp_path / "mine", family__method__again="Do it again.")
        path = tmp_path / exposed
        path.chmod(path.stat().st_mode | 0o002)
        (found,) = find_packs(tmp_path, KNOWN)
        assert (found.pack, found.problem) == (None, f"others may write to {exposed}")

    def test_refuses_a_link_to_what_others_may_change(self, tmp_path: Path) -> None:
        packs, elsewhere = tmp_path / "packs", tmp_path / "text"
        packs.mkdir()
        pack_at(packs / "mine", family__method__again="Do it again.")
        elsewhere.write_text("Do it again.")
        elsewhere.chmod(0o666)
        (packs / "mine" / "family" / "method" / "ask.txt").symlink_to(elsewhere)
        (found,) = find_packs(packs, KNOWN)
        assert found.problem == "others may write to mine/family/method/ask.txt"

    def test_refuses_a_name_that_is_not_there(self, tmp_path: Path) -> None:
        pack_at(tmp_path / "mine", family__method__again="Do it again.")
        with pytest.raises(NotInstalled, match="Did you mean paper"):
            open_pack(tmp_path, "papers", KNOWN)

    def test_refuses_what_is_no_folder_of_the_operators_own(self, tmp_path: Path) -> None:
        assert folder_problem(tmp_path) == ""
        gone, file = tmp_path / "gone", tmp_path / "file"
        file.touch()
        assert folder_problem(gone) == "it cannot be read: No such file or directory"
        assert folder_problem(file) == "it is not a folder"
        tmp_path.chmod(0o777)
        assert folder_problem(tmp_path) == "others may write to it"
        with pytest.raises(BadFile, match="others may write to it"):
            find_packs(tmp_path, KNOWN)


class TestRead:
    def test_reads_texts_by_package_and_name(self, tmp_path: Path) -> None:
        folder = pack_at(tmp_path, family__method__ask="  So $answer, costing $$5?\n")
        (tmp_path / "README.md").write_text("About this pack")
        pack = read_pack(folder, KNOWN)
        assert (pack.name, pack.version, pack.source) == ("paper", "2", "2303.17651")
        (prompt,) = pack.prompts.values()
        assert prompt.message(answer="41").content == "So 41, costing $5?"
        assert prompt.message(answer="41").prompt == f"method/ask@{prompt.digest}"
        assert pack.to_json() == {
            "name": "paper",
            "version": "2",
            "digest": pack.digest,
            "source": "2303.17651",
            "info_parity": True,
            "prompts": {"family/method/ask": prompt.digest},
        }

    def test_the_digest_follows_texts_and_places_alone(self, tmp_path: Path) -> None:
        one = read_pack(pack_at(tmp_path / "a", family__method__again="Again."), KNOWN)
        same = read_pack(pack_at(tmp_path / "b", family__method__again="\nAgain. "), KNOWN)
        other = read_pack(pack_at(tmp_path / "c", family__method__again="Again!"), KNOWN)
        assert one.digest == same.digest != other.digest

    def test_keeps_its_digest_where_only_some_prompts_are_used(self, tmp_path: Path) -> None:
        folder = pack_at(tmp_path, family__method__ask="$answer", family__method__again="Again.")
        pack = read_pack(folder, KNOWN)
        some = pack.only({("family", "method/ask"), ("family", "another")})
        assert list(some.prompts) == [("family", "method/ask")]
        assert some.digest == pack.digest

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ({"family__method__aks": "$answer"}, "Did you mean family/method/ask"),
            ({"famly__method__ask": "$answer"}, "Did you mean family/method/ask"),
            ({"family__method__ask": "What of it?"}, "lacks $answer"),
            ({"family__method__again": "Once more, $name."}, "has unknown $name"),
            ({"family__method__ask": "$anser"}, "lacks $answer and has unknown $anser"),
            ({"family__method__again": "  \n"}, "is empty"),
            ({"family__method__again": "It costs $5."}, "must be written as $$"),
            ({}, "holds no prompt"),
        ],
        ids=["name", "package", "missing", "unknown", "both", "empty", "dollar", "nothing"],
    )
    def test_refuses_what_cannot_stand_in(
        self, tmp_path: Path, files: dict[str, str], reason: str
    ) -> None:
        with pytest.raises(BadFile) as refusal:
            read_pack(pack_at(tmp_path, **files), KNOWN)
        assert reason in str(refusal.value)

    @pytest.mark.parametrize(
        ("about", "reason"),
        [
            ('name = "x"', "version"),
            ('name = ""\nversion = "1"', "name"),
            (f'{ABOUT}\nlicence = "MIT"', "licence"),
            ("name", "no TOML"),
            (f'{ABOUT}\ninfo_parity = "maybe"', "info_parity"),
        ],
        ids=["missing", "nameless", "unknown", "toml", "type"],
    )
    def test_refuses_a_pack_that_does_not_say_what_it_is(
        self, tmp_path: Path, about: str, reason: str
    ) -> None:
        with pytest.raises(BadFile) as refusal:
            read_pack(pack_at(tmp_path, about, family__method__again="Again."), KNOWN)
        assert reason in str(refusal.value)

    def test_refuses_a_folder_that_is_no_pack(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match="no prompt pack"):
            read_pack(tmp_path, KNOWN)

    def test_refuses_prompts_of_another_suffix(self, tmp_path: Path) -> None:
        folder = pack_at(tmp_path, family__method__again="Again.")
        (folder / "family" / "method" / "ask.md").write_text("$answer")
        with pytest.raises(BadFile, match="text files"):
            read_pack(folder, KNOWN)

    def test_refuses_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        folder = pack_at(tmp_path, family__method__again="Again.")
        (folder / "family" / "method" / "again.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(BadFile, match="cannot be read"):
            read_pack(folder, KNOWN)


class TestWrite:
    def test_what_it_writes_can_be_read_and_changes_nothing(self, tmp_path: Path) -> None:
        known = installed_prompts()
        list(write_pack(tmp_path / "mine", list(known.values()), name="mine"))
        pack = read_pack(tmp_path / "mine", known)
        assert {key: prompt.text for key, prompt in pack.prompts.items()} == {
            key: prompt.text for key, prompt in known.items()
        }

    def test_refuses_a_folder_with_something_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(BadFile, match="not empty"):
            list(write_pack(tmp_path, list(KNOWN.values()), name="x"))
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    @given(
        texts=st.dictionaries(
            st.text(string.ascii_lowercase, min_size=1, max_size=8),
            st.lists(st.text(max_size=20).filter(lambda t: "\r" not in t), min_size=1, max_size=3),
            min_size=1,
            max_size=4,
        )
    )
    def test_any_text_survives(
        self, tmp_path_factory: pytest.TempPathFactory, texts: dict[str, list[str]]
    ) -> None:
        prompts = {}
        for name, parts in texts.items():
            escaped = [part.replace("$", "$$") for part in parts]
            text = f"x{'$value'.join(escaped)}".strip()
            prompts["family", name] = Prompt(name, text, "family")
        folder = tmp_path_factory.mktemp("pack") / "mine"
        list(write_pack(folder, list(prompts.values()), name="mine"))
        assert read_pack(folder, prompts).prompts == prompts


class TestParity:
    @pytest.mark.parametrize(
        ("text", "form"),
        [
            (r"Put the final answer in \boxed{}.", r"\boxed{}"),
            ("End with #### and the number.", "####"),
            ("Reply as JSON.", "JSON"),
            ("Wrap it in <answer> tags.", "XML"),
            ("Give only the option letter.", "an option letter"),
            ("Choose (A), (B), (C) or (D).", "an option letter"),
            ("Finish with: the answer is X.", "a sentence with the answer"),
            ("So the answer is (X).", "a sentence with the answer"),
            ("Answer: <number>", "a line with the answer"),
            ("Reply with a single number.", "one word or number"),
            ("Use at most 20 words.", "a length"),
            ("Round to two decimal places.", "decimal places"),
            ("Put the program in a ```python block.", "a code block"),
            ("Reply with only the letter.", "an option letter"),
            ("End with 'The answer is N'.", "a sentence with the answer"),
            ("End with: The final answer is $N.", "a sentence with the answer"),
            ("Keep it under fifty words.", "a length"),
            ("Enclose it in double brackets.", "brackets"),
            ("List them separated by commas.", "items in a row"),
            ("A comma-separated list, please.", "items in a row"),
            ("Write it in LaTeX.", "LaTeX"),
            ("Write it as YAML.", "YAML"),
            ("Give three decimals.", "decimal places"),
            ("Answer as a fraction.", "a kind of number"),
            ("Your answer must be an integer.", "a kind of number"),
        ],
    )
    def test_knows_a_demand_when_it_sees_one(self, text: str, form: str) -> None:
        assert form in demands(text)

    @pytest.mark.parametrize(
        "text",
        [
            "Look at the answer above. Is the answer right?",
            "The answer is wrong; answer once more in the form that the question asked for.",
            "Finish with a line that says Verdict: correct or Verdict: wrong.",
            "Rate the response from 1 to 10. Write Choice: N.",
            "The answer is N's and nobody else's; under all of these words it is a fraction off.",
            "If a letter is missing, say which. Brackets that do not match are mistakes.",
        ],
    )
    def test_takes_no_other_words_for_one(self, text: str) -> None:
        assert demands(text) == set()

    def test_refuses_what_the_question_does_not_ask_for(self) -> None:
        with pytest.raises(BadTask) as refusal:
            require_parity(pack_of(r"Answer again in \boxed{}."), [sample("What is 6 * 7?")])
        assert refusal.value.data["task"] == "sums"
        assert r"family/method/again of the pack paper demands \boxed{}" in str(refusal.value)

    def test_refuses_what_one_question_of_many_does_not_ask_for(self) -> None:
        asked = sample(r"What is 6 * 7? Use \boxed{}.")
        with pytest.raises(BadTask):
            require_parity(pack_of(r"Again in \boxed{}."), [asked, sample("What is 2 + 2?")])

    def test_allows_what_the_question_or_an_example_shows(self) -> None:
        shown = sample("1 + 1?", "2 #### is the form", "6 * 7?")
        require_parity(pack_of("Again, with ####."), [shown])

    def test_allows_what_a_pack_declares(self) -> None:
        pack = pack_of("Again as JSON.", info_parity=False)
        require_parity(pack, [sample("6 * 7?")])
        assert pack.to_json()["info_parity"] is False

    def test_allows_the_form_of_a_verdict_that_the_installed_prompt_has(self) -> None:
        judge = {("family", "judge"): Prompt("judge", "Reply with one letter, A or B.", "family")}
        mine = {("family", "judge"): Prompt("judge", "One letter only: A or B.", "family")}
        require_parity(PromptPack("paper", "1", mine, judge, "digest"), [sample("6 * 7?")])

    def test_every_form_can_be_told_from_every_other(self) -> None:
        assert len(set(MARKERS.values())) == len(MARKERS)


class TestInForce:
    async def played(self, prompts: Replacements) -> tuple[SampleResult, Sequence[str]]:
        model, task = ScriptedModel(["Answer: 41", "Hm.", "Answer: 42"]), ScriptedTask()
        results: list[SampleResult] = []

        async def keep(result: SampleResult) -> None:
            results.append(result)

        await evaluate(
            load_evaluator("review_improve"),
            {"rounds": 1},
            task=task,
            samples=await task.samples(),
            models={"actor": model},
            sink=keep,
            prompts=prompts,
        )
        return results[0], [request.messages[-1].content for request in model.requests]

    async def test_texts_stand_in_while_a_sample_is_worked_on_and_not_after(self) -> None:
        key = ("redraft_self_correction", "review_improve/improve")
        mine = Prompt(key[1], "Mend it.", key[0])
        result, asked = await self.played({key: mine})
        assert asked[2] == "Mend it."
        assert f"review_improve/improve@{mine.digest}" in result.nodes[2].payload["prompts"]
        _, again = await self.played({})
        assert again[:2] == asked[:2]
        assert again[2] == installed_prompts()[key].text


class TestRun:
    def test_is_written_down_with_the_result(self, tmp_path: Path, capsys) -> None:
        folder = pack_at(tmp_path / "pack", **{f"{REVIEW}/improve".replace("/", "__"): "Mend it."})
        out = tmp_path / "out"
        arguments = ["run", "review_improve", *ECHO, "--prompts", str(folder), "--out", str(out)]
        assert run_command([*arguments, "--limit", "2"]) == 0
        capsys.readouterr()
        stored = read_folder(out / "review_improve")
        told = stored.run.prompt_pack
        assert (told["name"], told["version"], told["info_parity"]) == ("paper", "2", True)
        assert list(told["prompts"]) == [f"{REVIEW}/improve"]  # type: ignore[arg-type]  # a mapping
        assert "in the words of paper 2" in stored.label
        (results,) = (out / "review_improve").rglob("results_*.json")
        assert json.loads(results.read_text())["redraft"]["prompt_pack"] == told
        assert read_lm_eval(results).run.prompt_pack == told
        node = next(iter(stored.results.values()))[0].nodes[2]
        assert node.messages[-1].content == "Mend it."
        assert node.payload["prompts"][-1].endswith(told["prompts"][f"{REVIEW}/improve"])

    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            (f"{REVIEW}/improve", "Mend $it.", "has unknown $it"),
            (f"{REVIEW}/improv", "Mend it.", f"Did you mean {REVIEW}/improve"),
            (f"{REVIEW}/improve", r"Mend it in \boxed{}.", r"demands \boxed{}"),
            ("redraft_self_correction/self_refine/refine", "Mend it.", "for no prompt of review"),
        ],
        ids=["placeholder", "name", "parity", "other-method"],
    )
    def test_refuses_a_pack_before_anything_starts(
        self, tmp_path: Path, capsys, name: str, text: str, reason: str
    ) -> None:
        folder = pack_at(tmp_path / "pack", **{name.replace("/", "__"): text})
        out = tmp_path / "out"
        arguments = ["run", "review_improve", *ECHO, "--prompts", str(folder), "--out", str(out)]
        assert run_command(arguments) == 2
        assert reason in capsys.readouterr().err
        assert not out.exists()


class TestCommand:
    def test_lists_every_prompt_with_hash_and_placeholders(self, capsys) -> None:
        assert run_command(["prompts", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert len(rows) == len(installed_prompts())
        row = next(row for row in rows if row["name"] == "self_refine/feedback")
        assert row["package"] == "redraft_self_correction"
        assert len(row["digest"]) == 12
        assert row["placeholders"] == []

    def test_exports_a_pack_that_a_run_takes(self, tmp_path: Path, capsys) -> None:
        folder = tmp_path / "mine"
        assert run_command(["prompts", "review_improve", "--export", str(folder)]) == 0
        assert (folder / f"{REVIEW}/improve.txt").is_file()
        arguments = ["run", "review_improve", *ECHO, "--prompts", str(folder), "--limit", "1"]
        assert run_command([*arguments, "--json"]) == 0
        capsys.readouterr()
        assert run_command(["prompts", "review_improve", "--export", str(folder)]) == 2
        assert "not empty" in capsys.readouterr().err

    def test_refuses_a_method_without_prompts(self, capsys) -> None:
        assert run_command(["prompts", "single_pass"]) == 2
        assert "No prompt" in capsys.readouterr().err
