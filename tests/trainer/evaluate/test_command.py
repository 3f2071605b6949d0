"""An evaluation writes its files whole, and its summary says what was evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.simulated_predictions import CLASSES
from trainer.evaluate.command import run
from trainer.evaluate.options import OURS, EvaluateOptions

IMAGES = 90


def test_the_files_are_whole_and_the_summary_is_the_result(evaluated: tuple[Path, dict[str, Any]]) -> None:
    output, result = evaluated
    assert sorted(path.name for path in output.iterdir()) == sorted(OURS)
    assert json.loads((output / "evaluation.json").read_text()) == json.loads(json.dumps(result))


def test_the_summary_says_what_was_evaluated(
    evaluated: tuple[Path, dict[str, Any]], stored: Path, metadata: Path
) -> None:
    _, result = evaluated
    assert result["classes"] == list(CLASSES)
    assert result["malignant_classes"] == ["basal cell carcinoma", "melanoma"]
    assert (result["images"], result["with_lesion_id"]) == (IMAGES, IMAGES)
    assert result["predictions"] == {"path": str(stored), "models": ["m" * 64]}
    assert (result["model"], result["dataset"], result["split"], result["fold"]) == (None, None, None, None)
    assert result["metadata"] == {"paths": [str(metadata)], "matched": IMAGES - 1}
    assert sum(row["n"] for row in result["calibration"]["bins"]) == IMAGES


def test_figures_of_its_own_predictions_are_the_same_again(
    evaluated: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output, result = evaluated
    again = run(EvaluateOptions(predictions=str(output), output=str(tmp_path / "again"), bootstrap=30))
    assert again["figures"] == result["figures"]
    assert again["calibration"] == result["calibration"]
    assert again["mistakes"] == result["mistakes"]
