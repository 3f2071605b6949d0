"""The page of an evaluation: its sections, its curves and its pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluate.mistakes import MistakePictures
from trainer.evaluate.predictions import Predictions
from trainer.evaluate.report_html import evaluation_page, svg_path
from trainer.metrics.roc_pr_curves import rank_curves


def test_points_become_a_path_with_its_origin_at_the_lower_left() -> None:
    assert svg_path([(0.0, 0.0), (0.25, 0.5), (1.0, 1.0)]) == "M0.0 100.0L25.0 50.0L100.0 0.0"


def page(evaluated: tuple[Path, dict[str, Any]], predictions: Predictions, pictures: dict[str, MistakePictures]) -> str:
    _, result = evaluated
    curves = rank_curves(predictions.truth.labels, predictions.probabilities, result["classes"])
    return evaluation_page(result, curves, pictures).decode()


def test_the_page_is_what_the_command_wrote_and_loads_nothing(
    evaluated: tuple[Path, dict[str, Any]], predictions: Predictions
) -> None:
    output, _ = evaluated
    text = page(evaluated, predictions, {})
    assert (output / "report.html").read_bytes() == text.encode()
    assert not re.search(r"<script|<link|src=\"(?!data:)|@import", text)


def test_there_are_two_curves_for_each_class(evaluated: tuple[Path, dict[str, Any]], predictions: Predictions) -> None:
    text = page(evaluated, predictions, {})
    assert len(set(re.findall(r'd="(M[^"]+)"', text))) >= 2 * 3


def test_a_picture_is_embedded_and_its_map_beside_it(
    evaluated: tuple[Path, dict[str, Any]], predictions: Predictions
) -> None:
    _, result = evaluated
    entry = result["mistakes"]["confident"][0]
    plain = page(evaluated, predictions, {})
    drawn = page(evaluated, predictions, {entry["sha256"]: MistakePictures(b"image", b"map")})
    assert "data:image/jpeg;base64," not in plain
    assert "data:image/jpeg;base64,aW1hZ2U=" in drawn
    assert "data:image/jpeg;base64,bWFw" in drawn
    assert np.count_nonzero([entry["source_id"] in text for text in (plain, drawn)]) == 2
