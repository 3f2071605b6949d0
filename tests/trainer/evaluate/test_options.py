"""Options of an evaluation: what goes together, and what may be written over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from trainer.evaluate.options import OURS, SUMMARY, EvaluateOptions, parse_options, partial_name, require_free
from trainer.evaluate.options import read_evaluation_inputs as read_inputs


def test_defaults_are_those_of_the_class() -> None:
    assert parse_options(["--output=o"]) == EvaluateOptions(output="o")
    options = parse_options(["--output=o", "--metadata=a.csv", "--metadata=b.csv", "--fold=2"])
    assert (options.metadata, options.fold) == (("a.csv", "b.csv"), 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "--output"),
        (["--output=o", "--bootstrap=-1"], "--bootstrap: -1 is out of range: give from 0 to"),
        (["--output=o", "--split=test", "--fold=1"], "not allowed with"),
        (["--output=s3://bucket/o"], "--output s3://bucket/o: only local directories and gs://"),
        (["--output=o", "--metadata=http://host/x.csv"], "--metadata http://host/x.csv: only local directories"),
    ],
)
def test_a_wrong_command_line_is_explained(given: list[str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_options(given)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "--dataset is needed, unless --predictions"),
        ({"dataset": "d"}, "--model is needed, unless --predictions"),
        ({"dataset": "d", "model": "m", "labels": "l"}, "--labels l: goes with --predictions"),
        ({"predictions": "p", "fold": 0}, "--fold 0: is a part of a dataset"),
        ({"predictions": "p", "labels": "l", "dataset": "d"}, "--labels l: the labels are those of --dataset d"),
        ({"predictions": "p", "tta": True}, "--tta: with --predictions the model is not run"),
    ],
)
def test_options_that_contradict_each_other_are_found_before_anything_is_read(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        read_inputs(EvaluateOptions(output="o", **given))
    assert says in str(error.value)


def test_inputs_of_stored_predictions_are_read(stored: Path, metadata: Path, tmp_path: Path) -> None:
    options = EvaluateOptions(predictions=str(stored), metadata=(str(metadata),), output=str(tmp_path / "out"))
    inputs = read_inputs(options)
    assert inputs.classes == ("basal cell carcinoma", "melanoma", "nevus")
    assert (inputs.dataset, inputs.model, len(inputs.facts)) == (None, None, 89)
    assert not (tmp_path / "out").exists()


def test_only_what_an_interrupted_run_left_may_be_written_over() -> None:
    options = EvaluateOptions(output="o")
    leftovers = {*OURS, *map(partial_name, OURS)} - {SUMMARY}
    require_free(set(), options)
    require_free(leftovers, options)
    for kept in ({SUMMARY}, {"notes.txt"}, leftovers | {"notes.txt"}):
        with pytest.raises(UsageError, match="--output o is not empty; name another directory or add --overwrite"):
            require_free(kept, options)
        require_free(kept, EvaluateOptions(output="o", overwrite=True))


def test_an_output_that_is_a_file_is_named(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; name a directory"):
        read_inputs(EvaluateOptions(predictions=str(stored), output=str(tmp_path / "file")))
