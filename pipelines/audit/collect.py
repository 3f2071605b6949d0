"""Gather the evidence of an audit from judged rows: totals, and a bounded number of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.audit import findings
from pipelines.audit.findings import Conflict, IdConflict, NearPictures, Picture
from pipelines.audit.label_errors import FindLabelErrors, LabelError, error_order
from pipelines.audit.leakage import FindLeakage, LeakedGroup
from pipelines.audit.options import AuditOptions
from pipelines.audit.report import Evidence
from pipelines.beam.components import ConnectedComponents
from pipelines.beam.packed_groups import PackedCoGroupByKey, PackedGroupByKey
from pipelines.beam.tally import Tally
from pipelines.common.seeding import stable_hash
from pipelines.common.text import printable
from pipelines.curation.curate import Curated
from pipelines.curation.id_conflicts import ID_CONFLICT
from pipelines.curation.near_duplicates import NearPair
from pipelines.curation.quality import worst_first
from pipelines.curation.value_counts import FrequentValues
from pipelines.dataset.image_row import DUPLICATE, MASK, USABLE, ImageRow
from pipelines.dataset.manifest import by_path
from pipelines.domain.image_ids import has_copy_number
from pipelines.domain.labels import claimed_classes

# Number of examples of each kind, and of rejects of each reason.
EXAMPLES = 60
REJECT_EXAMPLES = 5


class Collected(NamedTuple):
    """What an audit found."""

    finished: beam.PCollection[ImageRow]  # every listed file with its outcome
    conflicts: beam.PCollection[Conflict]  # all of them
    leaks: beam.PCollection[LeakedGroup]  # all of them
    pairs: beam.PCollection[NearPictures]  # all of them
    errors: beam.PCollection[LabelError]  # all of them
    evidence: beam.PCollection[Evidence]  # one element


def conflict_order(conflict: Conflict | IdConflict) -> tuple[str, str]:
    """Return the sort key of a conflict; it is unique."""
    return conflict.places[0].relative, conflict.places[0].path


def leak_order(leak: LeakedGroup) -> tuple[str, str]:
    """Return the sort key of a leak; it is unique."""
    return leak.files[0][1].relative, leak.files[0][1].path


def near_order(pair: NearPictures) -> tuple[str, ...]:
    """Return the sort key of a pair of near-duplicates; it is unique."""
    first, second = pair.first.place, pair.second.place
    return first.relative, second.relative, first.path, second.path


class _FirstOf(beam.PTransform):
    """PTransform that returns one list: the first `count` elements by `order`."""

    def __init__(self, order: Callable[[Any], tuple], count: int = EXAMPLES):
        super().__init__()
        self._order = order
        self._count = count

    def expand(self, elements: beam.PCollection) -> beam.PCollection[list]:
        return elements | "First" >> beam.combiners.Top.Smallest(self._count, key=self._order)


class _Sum(beam.PTransform):
    """PTransform that sums Counters."""

    def expand(self, counters: beam.PCollection) -> beam.PCollection:
        return counters | "Sum" >> beam.CombineGlobally(Tally())


def _sides(pair: NearPair) -> Iterator[tuple[str, NearPair]]:
    yield pair.first, pair
    yield pair.second, pair


def _meet(element: tuple[str, dict[str, Iterable]]) -> Iterator[tuple[tuple[str, str], tuple[NearPair, str, Picture]]]:
    sha256, found = element
    picture = next(iter(found["pictures"]))
    return (((pair.first, pair.second), (pair, sha256, picture)) for pair in found["pairs"])


def _both(_: tuple[str, str], sides: Iterable[tuple[NearPair, str, Picture]]) -> NearPictures:
    pairs, names, pictures = zip(*sides, strict=True)
    return findings.pair_pictures(pairs[0], dict(zip(names, pictures, strict=True)))


class DescribePairs(beam.PTransform):
    """PTransform that joins pairs of near-duplicates with what is known of their images."""

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[NearPictures]:
        """Describe pairs of near-duplicates.

        Args:
            inputs: NearPairs; rows of distinct images, which include both sides of every pair.

        Returns:
            NearPictures.
        """
        pairs, rows = inputs
        return (
            {
                "pairs": pairs | "Sides" >> beam.FlatMap(_sides),
                "pictures": rows | "Pictures" >> beam.Map(lambda row: (row.sha256, findings.picture_of(row))),
            }
            | "Join pictures" >> PackedCoGroupByKey()
            | "Meet" >> beam.FlatMap(_meet)
            | "By pair" >> PackedGroupByKey()
            | "Both" >> beam.MapTuple(_both)
        )


class _CountDistinct(beam.PTransform):
    """PTransform that counts the lesions, or the patients, among rows; see `findings.tally_one`.

    Two ids that one image has are ids of one lesion: an image can have those of the archive and those of HAM10000.

    Args:
        kind: LESION or PATIENT.
    """

    def __init__(self, kind: str):
        super().__init__()
        self._kind = kind

    def _ids(self, row: ImageRow) -> Iterator[tuple[str, list[str]]]:
        if ids := [identity for kind, identity in findings.ids_of(row) if kind == self._kind]:
            yield findings.image_name(row), ids

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection:
        """Return a Counter for each lesion or patient."""
        return (
            rows
            | "Ids" >> beam.FlatMap(self._ids)
            | "Joined by images" >> ConnectedComponents()
            | "Images of one" >> beam.MapTuple(lambda image, one: (one, image))
            | "Group" >> PackedGroupByKey()
            | "Tally" >> beam.MapTuple(lambda _, images: findings.tally_one(self._kind, images))
        )


class CountIdentities(beam.PTransform):
    """PTransform that counts the images, lesions and patients among rows; see `findings`."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection:
        """Return one Counter, the sum of `tally_id`, `tally_one` and `tally_ids` over the rows."""
        ids = (
            rows
            | "Ids" >> beam.FlatMap(findings.ids_of)
            | "Each id" >> beam.Distinct()
            | "Tally id" >> beam.MapTuple(findings.tally_id)
        )
        known = (
            rows
            | "Known" >> beam.Map(lambda row: (findings.image_name(row), (bool(row.lesion_ids), bool(row.patient_ids))))
            | "Known of image" >> PackedGroupByKey()
            | "Tally known" >> beam.Map(findings.tally_ids)
        )
        lesions = rows | "Lesions" >> _CountDistinct(findings.LESION)
        patients = rows | "Patients" >> _CountDistinct(findings.PATIENT)
        return (ids, known, lesions, patients) | beam.Flatten() | _Sum()


def _conflict_pair(conflict: Conflict) -> tuple[tuple[str, ...], tuple[int, int]]:
    return claimed_classes(conflict.claims), (1, len(conflict.places))


def _add_pairs(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    images, files = zip(*counts, strict=True)
    return sum(images), sum(files)


def _tally_leak(leak: LeakedGroup) -> Mapping[Any, int]:
    counts = {"groups": 1}
    for split, _ in leak.files:
        counts["files", split] = counts.get(("files", split), 0) + 1  # type: ignore[index,call-overload]
    return counts


class _Examples(beam.PTransform):
    """PTransform that returns one list: the first few rejected rows of each reason."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[list[ImageRow]]:
        return (
            rows
            | "Rejected" >> beam.Filter(lambda row: row.reason and row.outcome != DUPLICATE)
            | "By reason" >> beam.Map(lambda row: ((row.stage, row.reason), row))
            | "First of reason" >> beam.combiners.Top.SmallestPerKey(REJECT_EXAMPLES, key=by_path)
            | "Reasons" >> beam.FlatMap(lambda element: element[1])
            | "Together" >> _FirstOf(lambda row: (row.stage, row.reason, row.relative, row.path), 100 * REJECT_EXAMPLES)
        )


def _issues(row: ImageRow) -> Iterator[tuple[str, tuple[tuple[float, str, str], ImageRow]]]:
    if row.outcome != DUPLICATE:
        yield from ((name, (worst_first(row, name), row)) for name in row.issues)


class _Worst(beam.PTransform):
    """PTransform that returns (issue, the worst images that have it, worst first)."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[str, list[ImageRow]]]:
        return (
            rows
            | "By issue" >> beam.FlatMap(_issues)
            | "Worst of issue" >> beam.combiners.Top.SmallestPerKey(EXAMPLES, key=lambda found: found[0])
            | "Their rows" >> beam.MapTuple(lambda issue, found: (issue, [row for _, row in found]))
        )


def collect(pipeline: beam.Pipeline, curated: Curated, options: AuditOptions) -> Collected:
    """Add the gathering of an audit's findings to a pipeline.

    Args:
        pipeline: The pipeline.
        curated: The judged rows.
        options: The options of the job.
    """
    usable = curated.images | "Usable rows" >> beam.Map(lambda row: row._replace(outcome=USABLE))
    finished = (curated.dropped, usable) | "All rows" >> beam.Flatten()
    conflicts = (
        finished
        | "In conflict" >> beam.Filter(lambda row: row.reason == findings.LABEL_CONFLICT)
        | "By image of conflict" >> beam.Map(lambda row: (stable_hash(row.image_of), row))
        | "Files in conflict" >> PackedGroupByKey()
        | "Conflicts" >> beam.MapTuple(lambda _, rows: findings.make_conflict(rows))
    )
    id_conflicts = (
        finished
        | "Under one id" >> beam.Filter(lambda row: row.reason == ID_CONFLICT)
        # Its pictures are several images; their message is the same, and names their files.
        | "By conflict of id" >> beam.Map(lambda row: (stable_hash(row.message), row))
        | "Files under one id" >> PackedGroupByKey()
        | "Id conflicts" >> beam.MapTuple(lambda _, rows: findings.make_id_conflict(rows))
    )
    leaks = (curated.readable, curated.near.pairs) | "Leakage" >> FindLeakage(options.group_by_patient)
    pairs = (curated.near.pairs, curated.near.rows) | "Describe pairs" >> DescribePairs()
    compared = usable | "Label errors" >> FindLabelErrors(options.predictions, options.classes)
    sized = finished | "Sizes" >> beam.FlatMap(findings.sizes_of)
    one, many = beam.pvalue.AsSingleton, beam.pvalue.AsDict
    evidence = (
        pipeline
        | "Evidence" >> beam.Create([None])
        | "Gather"
        >> beam.Map(
            lambda _, smallest, largest, **found: Evidence(sizes=(smallest, largest), **found),
            one(sized | "Smallest" >> beam.combiners.Top.Smallest(1)),
            one(sized | "Largest" >> beam.combiners.Top.Largest(1)),
            listed=one(curated.listed),
            totals=one(finished | "Count rows" >> beam.Map(findings.tally_finding) | "Totals" >> _Sum()),
            identities=one(curated.checked | "Identities" >> CountIdentities()),
            values=many(finished | "Frequent values" >> FrequentValues()),
            groups=many(
                usable
                | "Groups in split" >> beam.Map(lambda row: (row.split, row.group_id))
                | "Each group" >> beam.Distinct()
                | "Groups per split" >> beam.combiners.Count.PerKey()
            ),
            conflict_pairs=many(
                conflicts | "Conflict pair" >> beam.Map(_conflict_pair) | "Pairs" >> beam.CombinePerKey(_add_pairs)
            ),
            leaks=one(leaks | "Count leaks" >> beam.Map(_tally_leak) | "Leaks" >> _Sum()),
            near=one(curated.near.counts),
            other_label=one(
                pairs
                | "Other label" >> beam.Filter(findings.differs)
                | "Count other" >> beam.combiners.Count.Globally()
            ),
            problem=one(curated.problem),
            rejects=one(finished | "Rejected examples" >> _Examples()),
            duplicates=one(
                finished
                | "Duplicates" >> beam.Filter(lambda row: row.outcome == DUPLICATE)
                | "First duplicates" >> _FirstOf(by_path)
            ),
            numbered=one(
                curated.checked
                | "Numbered copies" >> beam.Filter(lambda row: has_copy_number(row.relative))
                | "Their paths" >> beam.Map(lambda row: printable(row.relative))
                | "First numbered" >> beam.combiners.Top.Smallest(EXAMPLES)
            ),
            conflict_examples=one(conflicts | "First conflicts" >> _FirstOf(conflict_order)),
            id_conflicts=one(id_conflicts | "Count id conflicts" >> beam.combiners.Count.Globally()),
            id_conflict_examples=one(id_conflicts | "First id conflicts" >> _FirstOf(conflict_order)),
            mask_examples=one(
                finished | "Masks" >> beam.Filter(lambda row: row.reason == MASK) | "First masks" >> _FirstOf(by_path)
            ),
            frequent_lesions=one(curated.frequent_lesions),
            corrections=one(curated.corrections),
            leak_examples=one(leaks | "First leaks" >> _FirstOf(leak_order)),
            near_examples=one(pairs | "First pairs" >> _FirstOf(near_order)),
            worst=many(finished | "Worst" >> _Worst()),
            confidence=one(compared.totals),
            error_pairs=many(
                compared.errors
                | "Error pair" >> beam.Map(lambda error: (error.label, error.suggested))
                | "Count errors" >> beam.combiners.Count.PerElement()
            ),
            error_examples=one(compared.errors | "First errors" >> _FirstOf(error_order)),
        )
    )
    return Collected(finished, conflicts, leaks, pairs, compared.errors, evidence)
