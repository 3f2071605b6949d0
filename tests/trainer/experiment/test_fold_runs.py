"""One training run and its evaluations: where they are, and what is not done again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from trainer.experiment.fold_runs import FoldRun, run_all


def finished(
    folder: Path, fingerprint: str = "m" * 64, metadata: Sequence[Path] = (), also_one_view: bool = False
) -> FoldRun:
    """A run whose training and evaluations are done, as their commands leave them."""
    (folder / "train/model/assets").mkdir(parents=True)
    (folder / "train/model/assets/model.json").write_text(json.dumps({"model_fingerprint": fingerprint}))
    (folder / "train/train.json").write_text(json.dumps({"seconds": 3}))
    for name in ("evaluation", "one_view") if also_one_view else ("evaluation",):
        (folder / name).mkdir()
        (folder / name / "predictions.parquet").write_bytes(b"")
        said: dict[str, Any] = {"schema_version": 1, "name": name, "model": {"fingerprint": fingerprint}}
        said["metadata"] = {"paths": list(map(str, metadata))}
        (folder / name / "evaluation.json").write_text(json.dumps(said))
    return FoldRun(folder, Path("missing"), 0, {}, tuple(metadata), also_one_view)


def test_figures_are_those_of_eight_views_with_the_training_beside_them(tmp_path: Path) -> None:
    run = finished(tmp_path / "fold-0", also_one_view=True)
    assert run.figures()["name"] == "evaluation"
    assert run.figures()["train"] == {"seconds": 3}
    assert run.figures_of_one_view()["name"] == "one_view"


def test_an_evaluation_of_another_version_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path / "fold-0")
    file = run.evaluation / "evaluation.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": 2}))
    for use in (run.figures, lambda: run_all([run], jobs=1)):
        with pytest.raises(UsageError) as caught:
            use()
        assert str(caught.value) == (
            f"--output {file} has schema version 2, this program reads 1; delete its folder to have it made again"
        )


def test_what_is_finished_is_not_done_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = [finished(tmp_path / f"fold-{fold}", also_one_view=bool(fold)) for fold in (0, 1)]
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    run_all(runs, jobs=2)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert capfd.readouterr() == ("", "")


def test_a_command_that_fails_gives_its_exit_code_and_speaks_for_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = finished(tmp_path / "fold-0")
    # Made with another table than is now asked for, so it is evaluated again, on a dataset that is not there.
    again = FoldRun(done.folder, Path("missing"), 0, {}, (Path("people.csv"),))
    with pytest.raises(SystemExit) as ended:
        run_all([again], jobs=1)
    assert ended.value.code == 2
    assert "trainer.evaluate: error: --dataset missing: no such directory" in capfd.readouterr().err
    assert not done.evaluation.exists()


@pytest.mark.parametrize("name", ["train.json", "model/assets/model.json"])
@pytest.mark.parametrize("content", [None, "{"])
def test_a_training_run_that_is_not_whole_is_named_before_any_work(
    tmp_path: Path, name: str, content: str | None
) -> None:
    runs = [finished(tmp_path / f"fold-{fold}") for fold in (0, 1)]
    file = runs[1].train / name
    file.unlink()
    if content:
        file.write_text(content)
    (runs[0].evaluation / "evaluation.json").unlink()
    with pytest.raises(UsageError, match=f"--output .*fold-1: train/{name} is missing or damaged; delete this folder"):
        run_all(runs, jobs=1)
    # Nothing was cleared away for a new evaluation.
    assert (runs[0].evaluation / "predictions.parquet").is_file()
