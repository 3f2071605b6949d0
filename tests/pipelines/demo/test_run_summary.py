"""The table at the end of `make run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.demo.run_summary import main, summary_rows
from tests.support.documents import dataset_document


def part(originals: int, examples: int) -> dict[str, Any]:
    counts = {"nevus": {"originals": originals, "examples": examples}, "melanoma": {"originals": 0, "examples": 0}}
    return {"shards": [], "originals": originals, "examples": examples, "bytes": 0, "per_class": counts}


FILES = {
    "dataset/dataset.json": dataset_document(
        ("melanoma", "nevus"),
        ["melanoma"],
        48,
        {"train": part(9, 18), "validation": part(0, 0), "test": part(3, 3)},
        counts={"listed": 21, "ignored": 1, "written": 12, "duplicates": 3, "rejected": 5},
        dropped={"duplicate": 3, "empty_file": 2, "undecodable": 3},
    ),
    "dataset/prepare.json": {"images_per_second": 99.6, "seconds": 4.4},
    "train/train.json": {
        "best_epoch": 3,
        "epochs": 5,
        "parameters": 12345,
        "images_per_second": 210.0,
        "seconds": 60.0,
    },
    "evaluation/evaluation.json": {
        "split": "test",
        "images": 3,
        "figures": {"balanced_accuracy": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 3}},
        "images_per_second": 12.0,
    },
    "scores/run=2026-01-01/_summary.json": {},
    "scores/run=2026-01-02/_summary.json": {
        "counts": {"listed": 8, "ignored": 1, "scored": 7, "rejected": 0},
        "dropped": {},
        "images_per_second": 3.0,
        "startup_seconds": 7.4,
        "seconds": 9.7,
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def test_figures_come_from_each_step_and_from_the_last_scores(run: Path) -> None:
    rows = summary_rows(run)
    assert ("prepare: files read", "20") in rows
    assert ("  images written", "12 = 9 train + 0 validation + 3 test") in rows
    assert ("  rejected", "5 (empty_file 2, undecodable 3)") in rows
    assert ("train: best epoch", "3 of 5, 12,345 parameters") in rows
    assert ("  balanced accuracy", "0.500 (95 % interval 0.250 to 0.750, n = 3)") in rows
    assert ("score: files read", "7") in rows
    assert ("  speed", "3 images/s after a start-up of 7 s, 10 s in all") in rows
    assert ("  rejected", "0") in rows


def test_the_table_is_printed_in_two_columns(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(run)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(summary_rows(run))
    width = max(len(label) for label, _ in summary_rows(run))
    assert all(line[width : width + 2] == "  " for line in lines)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train/train.json", None, "has no train/train.json; `make run` makes all of it"),
        ("evaluation/evaluation.json", "{", "evaluation/evaluation.json is damaged; run `make run` again"),
        ("dataset/prepare.json", "{}", "holds the output of another version (no 'images_per_second')"),
    ],
)
def test_an_output_that_is_missing_damaged_or_another_version_s_is_one_line(
    run: Path, name: str, content: str | None, says: str
) -> None:
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    with pytest.raises(UsageError) as refused:
        main([str(run)])
    assert str(refused.value).startswith(f"RUN {run}: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
