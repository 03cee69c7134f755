"""Our own folders: what is written is read back exactly, and nothing damaged gets through."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.controls import HeldAgainst, PlannedControl
from evaluators.errors import BadFile
from evaluators.formats.comparing import hold_against_controls
from evaluators.formats.folder import read_folder, write_folder
from evaluators.formats.reading import read_one, read_runs
from evaluators.formats.results import to_json
from evaluators.formats.stored import StoredRun


@pytest.fixture
def folder(stored: StoredRun) -> Path:
    list(write_folder(stored.source, stored))
    return stored.source


def test_a_run_is_read_back_exactly(folder: Path, stored: StoredRun) -> None:
    found = read_folder(folder)
    assert (found.run, found.specs, found.include_paths) == (
        stored.run, stored.specs, stored.include_paths,
    )  # fmt: skip
    assert found.tasks == stored.tasks
    assert list(found.results) == ["sums", "words/de"]
    for task, results in stored.results.items():
        assert [to_json(r) for r in found.results[task]] == [to_json(r) for r in results]


def test_what_a_run_is_held_against_is_read_back_exactly(folder: Path, stored: StoredRun) -> None:
    vote = PlannedControl("sc_calls", "self_consistency", {"samples": 3, "temperature": 0.5})
    none = PlannedControl("best_of_n", reason="nobody can rate")
    held = {"sums": (HeldAgainst(vote, "../controls/x"), HeldAgainst(none)), "words/de": ()}
    run = replace(stored.run, control="reask@2")
    list(write_folder(folder, replace(stored, controls=held, run=run)))
    found = read_folder(folder)
    assert found.controls == held
    assert (found.run.control, found.run.name) == ("reask@2", "reask@2")


def test_manifests_from_before_there_were_controls_are_read(folder: Path) -> None:
    _edit(folder, lambda data: (data.pop("controls"), data["run"].pop("control")))
    found = read_folder(folder)
    assert (found.controls, found.run.name) == ({}, found.run.evaluator)


def test_controls_are_looked_for_beside_the_run_only(folder: Path, stored: StoredRun) -> None:
    held = HeldAgainst(PlannedControl("greedy", "single_pass"), "../beside")
    list(write_folder(folder.parent / "beside", stored))
    list(write_folder(folder.parents[1] / "elsewhere", stored))
    for run, reason in {
        "../beside": "",
        "../../elsewhere": "its results are not where the manifest says",
        str(folder.parents[1] / "elsewhere"): "its results are not where the manifest says",
    }.items():
        moved = replace(stored, controls={"sums": (replace(held, run=run),)})
        (found,) = hold_against_controls(moved)["sums"]
        assert found.control.reason == reason


def test_export_import_export_is_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    names = {path.name for path in write_folder(again, read_folder(folder))}
    assert names == {"manifest.json", "transcripts_sums.jsonl", "transcripts_words__de.jsonl"}
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_manifest_is_enough_to_name_a_run(folder: Path) -> None:
    assert read_one(folder / "manifest.json").run == read_one(folder).run


def test_a_folder_of_several_runs(stored: StoredRun, tmp_path: Path) -> None:
    for name in ("b", "a"):
        list(write_folder(tmp_path / name, stored))
    assert [run.source.name for run in read_runs(tmp_path)] == ["a", "b"]
    with pytest.raises(BadFile, match=r"several runs; name one: .*a, .*b"):
        read_one(tmp_path)


def _edit(folder: Path, change: Any) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


class TestRefusals:
    def test_refuses_a_line_that_was_cut_off(self, folder: Path) -> None:
        path = folder / "transcripts_sums.jsonl"
        path.write_text(path.read_text()[:-40])
        with pytest.raises(BadFile, match=r"transcripts_sums\.jsonl:6: not JSON"):
            read_folder(folder)

    def test_refuses_a_file_that_was_cut_off_between_lines(self, folder: Path) -> None:
        path = folder / "transcripts_sums.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
        with pytest.raises(BadFile, match=r":4: holds 4 of 6 samples"):
            read_folder(folder)

    def test_refuses_a_sample_that_stands_there_twice(self, folder: Path) -> None:
        path = folder / "transcripts_sums.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[:5], lines[0]]))
        with pytest.raises(BadFile, match=":6: the sample '0' stands there twice"):
            read_folder(folder)

    def test_refuses_samples_of_another_task(self, folder: Path) -> None:
        path = folder / "transcripts_words__de.jsonl"
        path.write_text(path.read_text().replace('"task":"words/de"', '"task":"words/fr"'))
        with pytest.raises(BadFile, match=":1: a sample of 'words/fr' among those of 'words/de'"):
            read_folder(folder)

    def test_refuses_to_leave_the_folder(self, folder: Path) -> None:
        name = "../../etc/transcripts_sums.jsonl"
        _edit(folder, lambda data: data["tasks"]["sums"].update(transcripts=name))
        assert len(read_folder(folder).results["sums"]) == 6

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda data: data.update(format="else"), "not a manifest of ours"),
            (lambda data: data.update(version=9), "version 9 of the format; known is 1"),
            (lambda data: data.pop("run"), "no 'run' in it"),
            (lambda data: data["run"].update(seed="x"), "seed: Input should be a valid integer"),
            (lambda data: data["run"].update(started="then"), "Invalid isoformat"),
            (lambda data: data["tasks"]["sums"]["info"].pop("digest"), "info.digest"),
            (lambda data: data["tasks"]["sums"].update(transcripts="none.jsonl"), "none.jsonl"),
            (lambda data: data.update(origin="else"), "values to unpack"),
            (lambda data: data.update(controls={"sums": [{"run": "x"}]}), "planned"),
            (lambda data: data.update(controls={"sums": [{"planned": {"kind": "x"}}]}), "kind"),
            (lambda data: data.update(controls=3), "int"),
        ],
        ids=[
            "format",
            "version",
            "run",
            "seed",
            "time",
            "info",
            "file",
            "origin",
            "planned",
            "kind",
            "controls",
        ],
    )
    def test_refuses_a_damaged_manifest(self, change: Any, reason: str, folder: Path) -> None:
        _edit(folder, change)
        with pytest.raises(BadFile, match=reason) as caught:
            read_folder(folder)
        assert "\n" not in str(caught.value)

    def test_refuses_what_holds_no_results(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match="no results in it"):
            read_runs(tmp_path)
        with pytest.raises(BadFile, match="no such file"):
            read_runs(tmp_path / "none")
        (tmp_path / "a.txt").write_text("")
        with pytest.raises(BadFile, match="not a folder, a manifest"):
            read_runs(tmp_path / "a.txt")


def test_costs_that_nobody_recorded_stay_unknown(stored: StoredRun) -> None:
    known = [t.calls for t in stored.trajectories("sums")]
    assert known == [3, 2, 1, 2, 2, 0]
    bare = tuple(
        replace(r, nodes=tuple(replace(n, usage=None) for n in r.nodes))
        for r in stored.results["sums"]
    )
    found = replace(stored, results={"sums": bare}).trajectories("sums")
    assert {t.tokens_out for t in list(found)[:5]} == {None}
