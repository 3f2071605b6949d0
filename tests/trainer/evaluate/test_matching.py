"""Which scored file a label belongs to: by id, path and content, and where that cannot be said."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.common.cli import UsageError
from tests.support.stored_scores import stored_scores
from trainer.evaluate.matching import MatchCounts, match_labels
from trainer.evaluate.predictions import GroundTruth
from trainer.evaluate.stored_predictions import StoredPredictions


def scores(files: list[tuple[str, str, str]]) -> StoredPredictions:
    """Scores of files, each an id, a path and a content; the probability says which row it is."""
    ids, paths, contents = (list(column) for column in zip(*files, strict=True))
    share = np.arange(len(ids), dtype=np.float32) / 100
    return stored_scores(ids, contents, np.stack([share, 1 - share], axis=1), paths)


def matched(files: list[tuple[str, str, str]], labels: list[tuple[str, str]]) -> tuple[list[int], MatchCounts]:
    """The rows that count for labels, each an id and a path."""
    ids, paths = (list(column) for column in zip(*labels, strict=True))
    empty = [""] * len(ids)
    truth = GroundTruth(ids, empty, empty, ids, np.zeros(len(ids), np.int64), path=paths)
    found, counts = match_labels(scores(files), truth)
    return [round(100 * float(row[0])) for row in found.probabilities], counts


def test_an_id_that_several_scored_files_share_decides_nothing() -> None:
    files = [("1", "in/a/1.jpg", "x"), ("1", "in/b/1.jpg", "y"), ("2", "in/a/2.jpg", "z")]
    rows, counts = matched(files, [("1", ""), ("2", "")])
    assert rows == [2]
    assert (counts.shared_ids, counts.first_shared_ids, counts.labelled_without_score) == (1, ["1"], 1)
    with pytest.raises(UsageError, match=r"none of its 3 images .*; several scored files share 1 id \(1\); name their"):
        matched(files, [("1", "")])


def test_copies_of_one_file_and_later_scores_of_it_share_no_id() -> None:
    rows, counts = matched(
        [("1", "in/a/1.jpg", "x"), ("1", "in/b/1.jpg", "x"), ("2", "in/2.jpg", "y"), ("2", "in/2.jpg", "z")],
        [("1", ""), ("2", "")],
    )
    assert (rows, counts.shared_ids, counts.repeated) == ([1, 3], 0, 2)


def test_paths_tell_files_of_one_id_apart_wherever_they_begin() -> None:
    files = [("1", "gs://archive/in/a/1.jpg", "x"), ("1", "gs://archive/in/b/1.jpg", "y")]
    assert matched(files, [("1", "b/1.jpg"), ("1", "a/1.jpg")])[0] == [1, 0]
    assert matched(files, [("1", "in\\a\\1.jpg")])[0] == [0]
    assert matched([("1", "b/1.jpg", "y")], [("1", "/home/me/b/1.jpg")])[0] == [0]
    # Both of these are `1`; the name with its extension tells.
    pair = [("1", "in/a/1.jpg", "x"), ("1", "in/a/1.png", "y")]
    assert matched(pair, [("1", "a/1.png")])[0] == [1]


def test_the_path_of_another_file_with_the_same_name_matches_nothing() -> None:
    files = [("1", "in/b/1.jpg", "y"), ("2", "in/b/2.jpg", "y")]
    rows, counts = matched(files, [("1", "in/a/1.jpg"), ("2", "in/b/2.jpg")])
    assert (rows, counts.labelled_without_score, counts.shared_ids) == ([1], 1, 0)


def test_an_isic_id_says_which_image_it_is_on_any_path() -> None:
    assert matched([("ISIC_0000001", "in/b/ISIC_0000001.jpg", "y")], [("ISIC_0000001", "a/ISIC_0000001.jpg")])[0] == [0]
