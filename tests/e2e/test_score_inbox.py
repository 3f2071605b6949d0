"""Scoring an inbox that is emptied once its images are scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Command
from tests.support.scoring import export_untrained, scores, write_images
from tests.support.tiny_dataset import write_dataset


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return export_untrained(write_dataset(folder), folder / "model", 1)


def test_an_emptied_inbox_is_nothing_new_and_other_inputs_are_scored(
    command: Command, model: Path, tmp_path: Path
) -> None:
    inbox, other, output = tmp_path / "inbox", tmp_path / "other", tmp_path / "scores"
    inbox.mkdir()
    score = ("pipelines.score", "--model", model, "--output", output, "--previous", output, "--input", inbox)
    done = command(*score)
    assert done.returncode == 2
    assert f"--input {inbox}: holds no image" in done.stderr
    assert done.stderr.endswith("; add --allow_empty if that is as it should be\n")
    done = command(*score, "--allow_empty", "--report")
    assert (done.returncode, done.stdout) == (0, "nothing new: there is no image\n")
    assert not output.exists()
    images = write_images(inbox, 2)
    assert command(*score, "--run", "1").returncode == 0
    (inbox / "notes.txt").write_text("x")
    dry = command(*score, "--run", "2", "--dry_run")
    assert (dry.returncode, dry.stdout.splitlines()[:3]) == (
        0,
        [
            "images by their names: 2; other files: .txt 1",
            "scored or rejected before: 2; new: 0",
            f"would write {output}/run=2",
        ],
    )
    assert [path.name for path in output.iterdir()] == ["run=1"]
    (inbox / "notes.txt").unlink()
    for image in images:
        image.unlink()
    done = command(*score, "--run", "2")
    assert (done.returncode, done.stdout) == (0, "nothing new: there is no image\n")
    write_images(other, 3)
    done = command(*score, "--run", "3", "--input", other)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in output.iterdir()) == ["run=1", "run=3"]
    assert len(scores(output / "run=3")) == 3
    # A folder that is not there is a mistake on any night.
    done = command(*score[:-1], tmp_path / "inbocks")
    assert (done.returncode, "no such file or folder" in done.stderr) == (2, True)


def test_a_first_run_of_an_empty_input_writes_nothing(command: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    done = command(
        *("pipelines.score", "--model", model, "--output", tmp_path / "out", "--input", tmp_path / "inbox"),
        *("--allow_empty", "--report", "--format", "csv"),
    )
    assert (done.returncode, done.stdout) == (0, "nothing new: there is no image\n")
    assert not (tmp_path / "out").exists()
