"""What a row of scores says of an image."""

from __future__ import annotations

from pipelines.score.score_row import entropy, malignancy_score
from tests.support.score_row_maker import score_row, scoring_run


def test_entropy_and_malignancy_of_a_row():
    run = scoring_run(("benign", "malignant"))
    assert entropy(score_row("a", run, probabilities=(0.5, 0.5))) == 1.0
    assert entropy(score_row("a", run, probabilities=(0.0, 1.0))) == 0.0
    torn = score_row("a", run, probabilities=(0.25, 0.75))
    assert malignancy_score(torn, run.classes, run.malignant_classes) == 0.75
    assert malignancy_score(torn, run.classes, ()) == 0.0
