"""The table on the terminal, and the picture of the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from trainer.evaluate.report import format_estimate
from trainer.evaluate.report_console import draw_confusion_matrix, format_table


def test_the_table_has_a_line_for_each_class(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    lines = format_table(result["figures"]).splitlines()
    assert lines[0].startswith(
        f"balanced accuracy  {format_estimate(result['figures']['balanced_accuracy'])}   n = 90 "
    )
    assert lines[0].endswith("of 45 lesions; brackets: 95 % interval")
    assert lines[1].startswith("melanoma sensitivity at 90% specificity  ")
    assert lines[2].startswith("malignant sensitivity at 90% specificity  ")
    head = lines.index("")
    assert lines[head + 1].split() == ["class", "n", "sensitivity", "specificity", "AUC", "avg.", "precision"]
    for line, (name, row) in zip(lines[head + 2 :], result["figures"]["per_class"].items(), strict=False):
        assert line.startswith(name)
        assert format_estimate(row["auc"]) in line
        assert line == line.rstrip()


def few(figures: dict[str, Any], *names: str) -> dict[str, Any]:
    per_class = {name: {**row, "groups": 9 if name in names else 50} for name, row in figures["per_class"].items()}
    return {**figures, "per_class": per_class}


def test_classes_of_few_lesions_are_named_below_the_table(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    table = format_table(few(result["figures"], "melanoma", "nevus"))
    assert table.endswith("\n\nFewer than 10 lesions of melanoma, nevus: intervals too narrow to rely on.")
    assert "Fewer" not in format_table(few(result["figures"]))
    without = {**few(result["figures"], "melanoma"), "bootstrap": {**result["figures"]["bootstrap"], "resamples": 0}}
    assert "Fewer" not in format_table(without)


def test_the_confusion_matrix_grows_with_its_classes(tmp_path: Path) -> None:
    widths = []
    for classes in (["a", "b"], ["a", "b", "c", "d", "e"]):
        path = tmp_path / "matrix.png"
        draw_confusion_matrix([[3] * len(classes)] * len(classes), classes, "title", path)
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            widths.append(picture.width)
    assert widths[1] > 1.2 * widths[0]
