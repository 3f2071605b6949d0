"""What a row of scores says of an image."""

from __future__ import annotations

import numpy as np

from pipelines.score.score_row import entropies, entropy, malignancy_score, top_class
from tests.support.score_row_maker import score_row, scoring_run


def test_entropy_and_malignancy_of_a_row() -> None:
    run = scoring_run(("benign", "malignant"))
    assert entropy(score_row("a", run, probabilities=(0.5, 0.5))) == 1.0
    assert entropy(score_row("a", run, probabilities=(0.0, 1.0))) == 0.0
    torn = score_row("a", run, probabilities=(0.25, 0.75))
    assert malignancy_score(torn, run.classes, run.malignant_classes) == 0.75
    assert malignancy_score(torn, run.classes, ()) == 0.0


def test_a_run_is_another_where_models_or_views_are_and_not_where_thresholds_are() -> None:
    first = scoring_run()
    assert first.fingerprint == scoring_run(name="another night", threshold=0.1).fingerprint
    others = {scoring_run(tta=True).fingerprint, scoring_run(models=2).fingerprint}
    assert len({first.fingerprint, *others}) == 3
    swapped = scoring_run(models=2)
    assert swapped._replace(models=swapped.models[::-1]).fingerprint != swapped.fingerprint


def test_the_prior_of_an_ensemble_is_the_mean_of_its_models() -> None:
    run = scoring_run(("mel", "nv"), models=2, prior=(0.2, 0.8))
    assert run.prior.tolist() == [0.2, 0.8]
    assert scoring_run(("mel", "nv"), models=2).prior.tolist() == [0.5, 0.5]


def test_of_equally_likely_classes_the_first_is_the_top() -> None:
    run = scoring_run(("mel", "nv", "scar"))
    assert top_class(score_row("a", run, probabilities=(0.2, 0.4, 0.4)), run) == "nv"


def test_entropy_is_largest_where_a_model_knows_nothing() -> None:
    values = entropies(np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4]))
    assert values.tolist() == [0.0, 1.0, 2.0]


def test_a_rejected_row_says_why_and_keeps_its_file() -> None:
    run = scoring_run()
    row = score_row("a.jpg", run).rejected("score", "undecodable", "no image")
    assert (row.outcome, row.stage, row.reason, row.message) == ("rejected", "score", "undecodable", "no image")
    assert (row.path, row.size) == ("a.jpg", score_row("a.jpg", run).size)
