"""What the triage report keeps of a run's rows: the same for any order and grouping of rows, and never much."""

from __future__ import annotations

import math
import pickle
from collections import Counter

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.score.score_row import SCORED, ScoreRow, entropy, malignancy_score
from pipelines.score.triage import BINS, REJECTS, CollectTriage, Triage
from tests.support.score_row_maker import scoring_run

CLASSES = ("melanoma", "nevus", "wart", "carcinoma")
MALIGNANT = ("melanoma", "carcinoma")


RUN = scoring_run(CLASSES, malignant=MALIGNANT)


def _scored(path: str, *probabilities: float) -> ScoreRow:
    return ScoreRow(path, path, path, probabilities=probabilities, outcome=SCORED)


def _rows(seed: int, count: int) -> list[ScoreRow]:
    """Scored rows, some with equal scores, and rejects of three reasons."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        path = f"{random.integers(10**9)}/{index}.jpg"
        if random.random() < 0.2:
            reason = ("undecodable", "empty_file", "too_large")[random.integers(3)]
            rows.append(ScoreRow(path, path, "").rejected("check", reason, f"message {index}"))
        else:
            values = random.dirichlet([0.5] * len(CLASSES))
            if random.random() < 0.5:
                values = np.eye(len(CLASSES))[random.integers(len(CLASSES))]
            rows.append(_scored(path, *map(float, values)))
    return rows


def _collect(rows: list[ScoreRow], limit: int) -> Triage:
    collect = CollectTriage(RUN, limit)
    return collect.extract_output(collect.add_input(collect.create_accumulator(), rows))


def _scattered(rows: list[ScoreRow], limit: int, random: np.random.Generator) -> Triage:
    """Rows in random order, in blocks of random size, through accumulators that are merged in random order."""
    collect = CollectTriage(RUN, limit)
    order = [rows[index] for index in random.permutation(len(rows))]
    cuts = sorted(random.integers(0, len(rows) + 1, 12).tolist())
    blocks = [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    tallies = [collect.create_accumulator() for _ in range(random.integers(1, 6))]
    for block in blocks:
        chosen = random.integers(len(tallies))
        tallies[chosen] = collect.add_input(tallies[chosen], block)
    while len(tallies) > 1:
        random.shuffle(tallies)
        count = random.integers(2, len(tallies) + 1)
        tallies = [collect.merge_accumulators(pickle.loads(pickle.dumps(tallies[:count]))), *tallies[count:]]
    return collect.extract_output(tallies[0])


@pytest.mark.parametrize("seed", range(20))
def test_order_and_grouping_do_not_matter(seed: int) -> None:
    random = np.random.default_rng([seed, 1])
    rows = _rows(seed, 300)
    limit = int(random.choice([0, 1, 7, 40, 1000]))
    assert _scattered(rows, limit, random) == _collect(rows, limit)


def test_it_is_what_sorting_and_counting_everything_gives() -> None:
    rows = _rows(3, 500)
    scored = [row for row in rows if row.outcome == SCORED]
    scores = [malignancy_score(row, CLASSES, MALIGNANT) for row in scored]
    triage = _collect(rows, 25)

    ranked = sorted(zip(scores, scored, strict=True), key=lambda pair: (-pair[0], pair[1].path))
    assert triage.top == tuple(row for _, row in ranked[:25])
    assert triage.scored == len(scored)
    rejected = [row for row in rows if row.outcome != SCORED]
    assert triage.rejected == dict(Counter(row.reason for row in rejected))
    for reason, first in triage.rejects.items():
        of_reason = sorted((row for row in rejected if row.reason == reason), key=lambda row: row.path)
        assert first == tuple(of_reason[:REJECTS])
        assert len(of_reason) > REJECTS

    labels = np.array([np.argmax(row.probabilities) for row in scored])
    for label in range(len(CLASSES)):
        expected, _ = np.histogram(np.array(scores)[labels == label], BINS, (0, 1))
        assert triage.score_bins[label] == tuple(expected)
    expected, _ = np.histogram([entropy(row) for row in scored], BINS, (0, math.log2(len(CLASSES))))
    assert triage.entropy_bins == tuple(expected)
    np.testing.assert_allclose(triage.mean_probability, np.mean([row.probabilities for row in scored], axis=0))


def test_equal_scores_are_ordered_by_path() -> None:
    rows = [_scored(path, 0.5, 0.5, 0.0, 0.0) for path in "dbace"]
    assert [row.path for row in _collect(rows, 3).top] == ["a", "b", "c"]
    # A higher score comes first, whatever its path.
    assert [row.path for row in _collect([*rows, _scored("z", 0.25, 0.25, 0.25, 0.5)], 3).top] == ["z", "a", "b"]


def test_scores_on_an_edge_count_as_reaching_it() -> None:
    for threshold in (0.1, 0.25, 0.5, 0.75, 0.9):
        below = float(np.nextafter(threshold, 0))
        rows = [_scored("on", threshold, 1 - threshold, 0, 0), _scored("below", below, 1 - below, 0, 0)]
        assert _collect(rows, 5).at_least(threshold) == 1
    sure = _collect([_scored("sure", 1.0, 0, 0, 0), _scored("unsure", 0.25, 0.25, 0.25, 0.25)], 5)
    assert sure.at_least(0.9) == 1
    assert (sure.entropy_bins[0], sure.entropy_bins[-1]) == (1, 1)


def test_what_is_kept_does_not_grow_with_the_archive() -> None:
    collect = CollectTriage(RUN, 30)
    tally, sizes = collect.create_accumulator(), []
    for seed in range(8):
        tally = collect.add_input(tally, _rows(seed, 1000))
        sizes.append(len(pickle.dumps(tally)))
    assert max(sizes) < 1.1 * sizes[0]
    assert len(tally.top) == 30
    assert all(len(entries) == REJECTS for entries in tally.rejects.values())


def test_a_run_of_no_rows_gives_zeros() -> None:
    empty = _collect([], 10)
    assert (empty.top, empty.rejects, empty.rejected, empty.scored) == ((), {}, {}, 0)
    assert empty.mean_probability == (0.0,) * len(CLASSES)
    assert empty.at_least(0.1) == 0


def test_a_pipeline_collects_what_one_process_collects() -> None:
    rows = _rows(9, 200)
    blocks = [rows[start : start + 17] for start in range(0, len(rows), 17)]
    with beam.Pipeline("FnApiRunner") as pipeline:
        found = pipeline | beam.Create(blocks) | beam.CombineGlobally(CollectTriage(RUN, 12))
        assert_that(found, equal_to([_collect(rows, 12)]))
