"""Issues of photographs, and their exclusion."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.curation.quality import FindIssues, UsualSize, issues_of, reject_quality, usual_size
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.quality_issues import ISSUES, PIXEL_ISSUES
from tests.support.collecting import run
from tests.support.image_rows import row

GOOD = (1.0,) * len(PIXEL_ISSUES)
USUAL = UsualSize(400, 600, 600)


def _measured(name: str = "a", width: int = 600, height: int = 450, **values: Any) -> ImageRow:
    return row(name, **{"width": width, "height": height, "quality": GOOD, **values})


@pytest.mark.parametrize(
    ("width", "height", "issues"),
    [
        (600, 450, ()),
        (1000, 300, ("odd_aspect_ratio",)),
        (4000, 3000, ("odd_size",)),
        (256, 192, ("odd_size", "thumbnail")),
        (257, 193, ("odd_size",)),
    ],
)
def test_sizes_are_odd_beside_those_of_all_images(width: int, height: int, issues: tuple[str, ...]) -> None:
    assert issues_of(_measured(width=width, height=height), USUAL) == issues


def test_small_images_among_small_images_are_no_thumbnails() -> None:
    usual = usual_size({(180, 180): 50, (180, 160): 50})
    assert issues_of(_measured(width=180, height=180), usual) == ()


def test_odd_sizes_lie_three_interquartile_ranges_beyond_the_quartiles() -> None:
    usual = usual_size({(100, 100): 25, (200, 200): 50, (300, 300): 24, (1000, 1000): 1})
    assert (usual.least, usual.most, usual.longer_side) == (-62.5, 462.5, 200) or usual.most < 1000
    assert usual_size({}) == UsualSize(0, 0, 0)


def test_a_score_below_its_limit_is_an_issue_and_an_image_without_scores_has_none() -> None:
    for index, (name, limit) in enumerate(PIXEL_ISSUES.items()):
        scores = list(GOOD)
        scores[index] = limit - 0.01
        assert issues_of(_measured(quality=tuple(scores)), USUAL) == (name,)
        scores[index] = limit
        assert issues_of(_measured(quality=tuple(scores)), USUAL) == ()
    assert issues_of(_measured(quality=(), width=4000, height=100), USUAL) == ()


def test_the_reason_of_an_excluded_image_is_its_first_unwanted_issue() -> None:
    poor = _measured(quality=(0.1, *GOOD[1:]), issues=("dark", "thumbnail"), width=160, height=120)
    assert reject_quality(poor, ("blurry",)) == poor
    assert reject_quality(poor, ISSUES).reason == "dark"
    small = reject_quality(poor, ("thumbnail",))
    assert (small.outcome, small.stage, small.reason) == ("rejected", "quality", "thumbnail")
    assert small.message == "160 x 120 pixels; --exclude thumbnail"
    assert reject_quality(poor._replace(correction="keep"), ISSUES).reason == ""
    assert reject_quality(poor.rejected("label", "unmapped_label", ""), ISSUES).reason == "unmapped_label"


def test_rows_get_issues_from_the_sizes_of_all() -> None:
    rows = [_measured(str(number)) for number in range(9)] + [_measured("small", 160, 120)]
    found = {one.relative: one.issues for one in run(rows, FindIssues())}
    assert found.pop("small") == ("odd_size", "thumbnail")
    assert set(found.values()) == {()}
