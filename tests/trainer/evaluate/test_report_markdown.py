"""The Markdown of an evaluation says what the page says, in tables of even rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.evaluate.report import format_estimate, headline_figures
from trainer.evaluate.report_markdown import evaluation_text, subgroup_tables


def test_the_text_is_what_the_command_wrote(evaluated: tuple[Path, dict[str, Any]]) -> None:
    output, result = evaluated
    assert (output / "report.md").read_bytes() == evaluation_text(result)


def test_every_headline_figure_is_in_it(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    text = evaluation_text(result).decode()
    for figure in headline_figures(result):
        assert f"| {figure.name} | {format_estimate(figure.estimate)} | {figure.n} |" in text
    for heading in ("Confusion matrix", "Classes", "Calibration", "Subgroups", "Worst mistakes", "How it was made"):
        assert f"\n## {heading}\n" in text


def test_a_caution_comes_before_the_figures(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    model = {"path": "m", "fingerprint": "m" * 64, "fold": -1}
    text = evaluation_text({**result, "model": model, "trained_on_this_dataset": False}).decode()
    assert text.index("**The model was trained on another dataset.**") < text.index("| Figure | Value |")


def test_a_small_group_has_no_figures_and_a_missing_one_a_dash() -> None:
    group = {"n": 3, "lesions": 2, "classes": 1}
    some = {"value": 0.5, "low": None, "high": None}
    groups = [
        {"group": "few", **group, "few": True},
        {"group": "without", **group, "few": False, "balanced_accuracy": some},
        {"group": "with", **group, "few": False, "balanced_accuracy": some, "melanoma_auc": some},
    ]
    lines = list(subgroup_tables({"subgroups": [{"by": "sex", "groups": groups}]}))
    assert lines[0] == "### By sex"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == ["Group", "Images", "Lesions", "Classes", "Balanced accuracy", "Melanoma AUC"]
    assert [row[4:] for row in rows[2:]] == [["too few", "too few"], ["0.500", "-"], ["0.500", "0.500"]]
