"""Say which photographs are poor, from their scores and from how their size lies among those of all images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from pipelines.beam.tally import Tally
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.quality_issues import ISSUES, ODD_ASPECT_RATIO, ODD_SIZE, PIXEL_ISSUES, THUMBNAIL

# cleanvision's: shorter side by longer side.
_LEAST_ASPECT = 0.35
# cleanvision's: how many interquartile ranges beyond the quartiles a size is odd.
_IQR_FACTOR = 3
# Longer sides that file managers, network drives, cameras (160), web galleries and the archive (256) give thumbnails.
_THUMBNAIL_SIDES = frozenset(
    {32, 48, 64, 72, 75, 80, 90, 96, 100, 120, 128, 144, 150, 160, 180, 192, 200, 240, 250, 256, 300, 320}
)


class UsualSize(NamedTuple):
    """What the sizes of all images say of one."""

    least: float  # square root of the area below which a size is odd
    most: float
    longer_side: float  # the median


def usual_size(sizes: Mapping[tuple[int, int], int]) -> UsualSize:
    """Return the usual size of images.

    Args:
        sizes: (width, height) -> number of images.
    """
    if not sizes:
        return UsualSize(0, 0, 0)
    pairs = sorted(sizes.items())
    counts = [count for _, count in pairs]
    roots = np.repeat([(width * height) ** 0.5 for (width, height), _ in pairs], counts)
    longer = np.repeat([max(size) for size, _ in pairs], counts)
    first, third = np.percentile(roots, [25, 75])
    reach = _IQR_FACTOR * (third - first)
    return UsualSize(float(first - reach), float(third + reach), float(np.median(longer)))


def issues_of(row: ImageRow, usual: UsualSize) -> tuple[str, ...]:
    """Return the issues of a readable image, in the order of ISSUES; none unless its quality was measured."""
    if not row.quality:
        return ()
    limits = zip(PIXEL_ISSUES.items(), row.quality, strict=True)
    found = {name for (name, limit), score in limits if score < limit}
    longer, shorter = max(row.width, row.height), min(row.width, row.height)
    if shorter / longer < _LEAST_ASPECT:
        found.add(ODD_ASPECT_RATIO)
    if not usual.least <= (row.width * row.height) ** 0.5 <= usual.most:
        found.add(ODD_SIZE)
    if longer in _THUMBNAIL_SIDES and 2 * longer <= usual.longer_side:
        found.add(THUMBNAIL)
    return tuple(name for name in ISSUES if name in found)


def reject_quality(row: ImageRow, exclude: Collection[str]) -> ImageRow:
    """Return the row, rejected by the name of its first issue that is not wanted.

    Rows that already have an outcome, and images that a person has decided to keep, are returned unchanged.
    """
    found = next((name for name in row.issues if name in exclude), None)
    if row.outcome or row.correction == "keep" or found is None:
        return row
    return row.rejected("quality", found, f"{_measured(row, found)}; --exclude {found}")


def _measured(row: ImageRow, issue: str) -> str:
    if issue in PIXEL_ISSUES:
        score = row.quality[list(PIXEL_ISSUES).index(issue)]
        return f"scores {score:g}, less than {PIXEL_ISSUES[issue]:g}"
    return f"{row.width} x {row.height} pixels"


def _size(row: ImageRow) -> Counter:
    return Counter({(row.width, row.height): 1})


def _with_issues(row: ImageRow, usual: UsualSize) -> ImageRow:
    return row._replace(issues=issues_of(row, usual))


class FindIssues(beam.PTransform):
    """PTransform that completes the rows of readable images with their issues."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Return the same rows with `issues`."""
        usual = (
            rows
            | "Size" >> beam.Map(_size)
            | "Sizes" >> beam.CombineGlobally(Tally())
            | "Usual size" >> beam.Map(usual_size)
        )
        return rows | "Issues" >> beam.Map(_with_issues, beam.pvalue.AsSingleton(usual))


def worst_first(row: ImageRow, issue: str) -> tuple[float, str, str]:
    """Return the sort key of an image that has an issue; it is unique."""
    scores: Iterable[tuple[str, float]] = zip(PIXEL_ISSUES, row.quality, strict=True)
    score = dict(scores).get(issue, float(row.width * row.height))
    return score, row.relative, row.path
