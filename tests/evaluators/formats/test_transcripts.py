"""Anyone's transcripts: what is read, and what is refused at which line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.errors import BadFile
from evaluators.formats.lines import write_lines
from evaluators.formats.transcripts import Line, read_transcripts, to_line, write_transcripts
from evaluators.metrics import Judgement, Trajectory, decompose

GOOD = b'{"id": "a", "correct": [true, false]}\n'


def read(path: Path, data: bytes) -> list[Trajectory]:
    path.write_bytes(data)
    return list(read_transcripts(path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "transcripts.jsonl"


class TestReading:
    def test_the_least_that_is_needed(self, file: Path) -> None:
        assert read(file, GOOD) == [Trajectory("a", (True, False))]

    def test_everything_that_is_known(self, file: Path) -> None:
        line = {
            "id": 7, "task": "sums", "cluster": 3, "replicate": 2, "correct": [True, True],
            "parsed": [True, False], "truncated": [False, True], "changed": [False, True],
            "calls": 2, "tokens_in": 30, "tokens_out": 20, "tokens_computed": 0, "tokens_first": 9,
            "calls_first": 1, "abstained": [False, True], "odds": [0.6, 0.8, 0.25],
            "verdicts": [{"correct": True, "verdict": "wrong", "score": 0.3, "location": 1}],
            "facts": {"locates": True},
        }  # fmt: skip
        assert read(file, json.dumps(line).encode()) == [
            Trajectory(
                "7", (True, True), "sums", "3", 2, (True, False), (False, True), (False, True),
                2, 30, 20, 0, 9, 1, abstained=(False, True), odds=(0.6, 0.8, 0.25),
                judgements=(Judgement(True, "wrong", 0.3, 1),), facts={"locates": True},
            )
        ]  # fmt: skip

    def test_null_is_a_sample_without_a_score(self, file: Path) -> None:
        (lost,) = read(file, b'{"id": "a", "correct": null}')
        assert lost == Trajectory("a", (), scored=False)
        assert decompose([lost]).n_total == 1

    def test_byte_order_mark_blank_lines_and_windows_ends(self, file: Path) -> None:
        data = (
            b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + b"\n  \n" + GOOD.replace(b"a", b"b", 1)
        )
        assert [t.id for t in read(file, data)] == ["a", "b"]

    def test_keys_of_others_are_let_through(self, file: Path) -> None:
        assert read(file, b'{"id": "a", "model": "m", "correct": [true], "x": {"y": [1.5]}}')

    def test_one_id_may_stand_in_several_tasks_and_replicates(self, file: Path) -> None:
        lines = [
            {"id": "a", "correct": [True]},
            {"id": "a", "correct": [True], "task": "t"},
            {"id": "a", "correct": [True], "task": "t", "replicate": 1},
        ]
        assert len(read(file, "\n".join(map(json.dumps, lines)).encode())) == 3

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD)))
        assert [t.id for t in read_transcripts(Path("-"))] == ["a"]

    def test_a_line_is_out_before_the_next_is_read(self, file: Path) -> None:
        file.write_bytes(GOOD + b"not json\n")
        lines = read_transcripts(file)
        assert next(lines).id == "a"
        with pytest.raises(BadFile):
            next(lines)


GOLDEN = Path(__file__).parents[2] / "golden" / "metrics" / "refused_transcripts.json"

REFUSED: dict[str, tuple[bytes, str]] = {
    case["id"]: (case["line"].encode(), case["reason"]) for case in json.loads(GOLDEN.read_text())
} | {
    "latin_1": ('{"id": "ä", "correct": [true]}'.encode("latin-1"), "2: not UTF-8 at byte 9"),
    "utf_16": ('{"id": "b"}'.encode("utf-16-le"), "2: not JSON"),
    "nested": (b'{"id": "b", "correct": [true], "x": ' + b"[" * 100_000, "nested too deeply"),
    "endless_number": (b'{"id": "b", "calls": ' + b"9" * 5000 + b"}", "2: not JSON"),
}


@pytest.mark.parametrize(("line", "reason"), REFUSED.values(), ids=REFUSED)
def test_refuses_a_line_with_its_number_and_reason(file: Path, line: bytes, reason: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(file, GOOD + line)
    text = str(caught.value)
    assert reason in text
    assert f"{file}:2: " in text
    assert "\n" not in text
    assert len(text) < 300 + len(str(file))


class TestRefusals:
    def test_refuses_an_empty_file(self, file: Path) -> None:
        with pytest.raises(BadFile, match="there is no line in it"):
            read(file, b"\n\n")

    def test_refuses_a_missing_file(self, file: Path) -> None:
        with pytest.raises(BadFile, match=r"transcripts\.jsonl: No such file or directory"):
            list(read_transcripts(file))

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match="Is a directory"):
            list(read_transcripts(tmp_path))

    def test_refuses_a_line_without_end(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evaluators.formats.lines.MAX_LINE", 1000)
        with pytest.raises(BadFile, match=":1: longer than 1000 bytes"):
            read(file, b" " * 2000)


class TestWriting:
    judgement = st.builds(
        Judgement,
        st.booleans(),
        st.sampled_from(["correct", "wrong", "unsure", None]),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.integers(-1, 9),
        st.none() | st.integers(-1, 9),
    )
    states = st.lists(st.booleans(), min_size=1, max_size=4)

    @staticmethod
    @st.composite
    def trajectories(draw: st.DrawFn) -> Trajectory:
        correct = draw(TestWriting.states)
        some = st.just(()) | st.lists(
            st.booleans(), min_size=len(correct), max_size=len(correct)
        ).map(tuple)
        changed = draw(some)
        part, whole = sorted(draw(st.tuples(*[st.integers(0, 2**53)] * 2)))
        costs = (whole, part, whole, part, part, part)
        text = st.text(st.characters(exclude_categories=["Cs"]))
        return Trajectory(
            draw(text),
            tuple(correct),
            draw(text),
            draw(text),
            draw(st.integers(0, 5)),
            draw(some),
            draw(some),
            (False, *changed[1:]) if changed else (),
            *(draw(st.sampled_from([None, cost])) for cost in costs),
            judgements=tuple(draw(st.lists(TestWriting.judgement, max_size=2))),
            odds=draw(st.none() | st.tuples(*[st.floats(0, 1)] * 3)),
            facts=draw(st.dictionaries(st.sampled_from("ab"), st.none() | st.booleans())),
        )

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_round_trip(self, data: st.DataObject) -> None:
        trajectory = data.draw(self.trajectories())
        line = to_line(trajectory)
        assert "\n" not in line
        assert Line.model_validate_json(line).trajectory() == trajectory

    def test_file(self, tmp_path: Path) -> None:
        written = [Trajectory("a", (True, False), calls=0), Trajectory("b", (), scored=False)]
        path = write_transcripts(tmp_path / "new" / "t.jsonl", written)
        assert list(read_transcripts(path)) == written
        assert path.read_text() == (
            '{"id": "a", "correct": [true, false], "calls": 0}\n{"id": "b", "correct": null}\n'
        )

    def test_nothing_half_made_stays_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "t.jsonl"
        path.write_text("before")

        def lines() -> Any:
            yield "one"
            raise RuntimeError

        with pytest.raises(RuntimeError):
            write_lines(path, lines())
        assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("t.jsonl", "before")]
