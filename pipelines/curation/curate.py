"""From inputs to a label, a group and a split for every file: what prepare and audit share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam

from pipelines.beam.partition import partition
from pipelines.beam.progress import JobPhase
from pipelines.curation.ambiguous_ids import FindAmbiguous
from pipelines.curation.check import CheckImages
from pipelines.curation.companions import FindMasks
from pipelines.curation.correct import FindUncorrectable, ReadCorrections
from pipelines.curation.count_lesions import FrequentLesions
from pipelines.curation.deduplicate import DeduplicateImages
from pipelines.curation.feasibility import FindProblem, RejectSmallClasses
from pipelines.curation.groups import AssignGroups, FindNear, Near, load_thumbnails
from pipelines.curation.join_metadata import JoinTables
from pipelines.curation.keep_splits import AssignSplitsFromFile, KeepDatasetSplits
from pipelines.curation.options import CurationOptions
from pipelines.curation.past_images import FindAbsent, ReadRecorded
from pipelines.curation.quality import FindIssues, reject_quality
from pipelines.curation.split import AssignFolds, SplitFromFolders, SplitGroups
from pipelines.dataset.image_row import SIDES, ImageRow, is_open
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.metadata_columns import normalize_license
from pipelines.sources import list_images

# What a job shows of itself until images are grouped and split.
CHECK_PHASES = (
    JobPhase("listing", "listed", unit="files"),
    JobPhase("checking", "checked", ("listed",), "files"),
    JobPhase("grouping"),
)


class Curated(NamedTuple):
    """Collections that are known once every file is judged."""

    listed: beam.PCollection  # one Counter, see `list_images.CountListed`
    checked: beam.PCollection  # the row of every file, before any comparison
    readable: beam.PCollection  # the rows of files that could be decoded
    dropped: beam.PCollection  # rows with an outcome
    images: beam.PCollection  # the other rows, one per distinct image, with label, group, split and fold
    near: Near  # see `groups.FindNear`
    frequent_lesions: beam.PCollection  # one list, see `frequent_lesions.frequent_among`
    corrections: beam.PCollection  # one mapping, see `corrections.read_corrections`; empty if there are none
    problem: beam.PCollection  # one line, see `feasibility.FindProblem`
    recorded: beam.PCollection | None  # RecordedImages of the dataset whose splits are kept; None without one


def curate_images(
    pipeline: beam.Pipeline,
    options: CurationOptions,
    threads: int,
    packs: str,
    spec: RecordSpec | None = None,
    cache: str = "",
    measure_quality: bool = False,
) -> Curated:
    """Add list -> check -> join tables -> identify, label -> group -> split, fold to a pipeline.

    Args:
        pipeline: The pipeline to extend.
        options: The validated options.
        threads: Images processed at once per worker process.
        packs: The folder for packs, which hold what later stages need of each image's pixels.
        spec: How images become records; None if there will be no records.
        cache: A dataset with the same spec whose records replace decoding its images again, see `decode_cache`; empty
            for none.
        measure_quality: Whether rows get scores and issues of their quality even if none of them is excluded.
    """
    measure_quality = measure_quality or bool(options.exclude)
    sides = SIDES[options.on_leakage]
    corrections = pipeline | "Read corrections" >> ReadCorrections(options.corrections, options.class_set)
    chunks = pipeline | "List images" >> list_images.ListImages([source.path for source in options.sources])
    listed = chunks | "Listed" >> list_images.CountListed()
    checked = (
        chunks
        | "Check images"
        >> CheckImages(
            options.sources,
            options.class_set,
            options.split_from_folders,
            threads,
            packs,
            spec,
            cache,
            measure_quality,
            corrections if options.corrections.path else None,
            options.memory_budget,
        )
        | "Join metadata" >> JoinTables(options.sources, options.metadata, options.class_set)
    )
    tables = checked | "Tables of image" >> beam.FlatMap(lambda row: row.tables)
    problems = [pipeline | "No problem" >> beam.Create([], reshuffle=False)]
    if options.metadata and len(options.sources) > 1:
        problems.append(checked | "Ambiguous ids" >> FindAmbiguous(options.metadata))
    if options.splits_file:
        given = checked | "Give splits" >> AssignSplitsFromFile(options.splits_file, options.columns)
        checked = given.rows
        start = f"--splits_file {options.splits_file}"
        problems.append(given.problems | "Of the splits file" >> beam.Map(lambda line: f"{start}: {line}"))
    recorded = None
    if options.splits_from:
        recorded = pipeline | "Recorded" >> ReadRecorded(options.splits_from)
        checked = (checked, recorded) | "Give recorded" >> KeepDatasetSplits(sides)
    unreadable, readable = checked | "Readable" >> partition(is_open)
    unreadable = (unreadable, readable) | "Find masks" >> FindMasks()
    if measure_quality:
        readable |= "Quality" >> FindIssues()
    resolved = readable | "Images" >> DeduplicateImages(options.trust, sides)
    if options.licenses:
        # Only after resolving does a row have the licences of all files of its image.
        resolved |= "Licences" >> beam.Map(reject_license, options.licenses)
    if options.exclude:
        # Only now, so that what an image says of lesions and labels still counts.
        resolved |= "Exclude" >> beam.Map(reject_quality, options.exclude)
    near = resolved | "Near-duplicates" >> FindNear(functools.partial(load_thumbnails, packs))
    frequent_lesions = near.rows | "Frequent lesions" >> FrequentLesions()
    distinct = near.rows | "Distinct" >> beam.Filter(is_open)
    linked = resolved
    if recorded:
        absent = (recorded, distinct) | "Absent" >> FindAbsent()
        distinct, linked = (
            (rows, absent) | f"{name} and past" >> beam.Flatten()
            for name, rows in {"Distinct": distinct, "Resolved": resolved}.items()
        )
    grouped = (distinct, near.pairs, linked) | "Group" >> AssignGroups(options.group_by_patient)
    splitter = (
        SplitFromFolders(options.split_fractions, options.seed, sides)
        if options.split_from_folders
        else SplitGroups(options.split_fractions, options.seed, sides, fill_up=bool(options.splits_from))
    )
    divided = grouped | "Split" >> splitter
    if options.folds:
        divided |= "Folds" >> AssignFolds(options.folds, options.seed)
    if options.small_classes == "reject":
        divided |= "Small classes" >> RejectSmallClasses(options.split_fractions, options.folds)
    unsplit, images = divided | "In a split" >> partition(is_open)
    rejected = resolved | "Rejected" >> beam.Filter(lambda row: not is_open(row))
    dropped = (unreadable, rejected, unsplit) | "Dropped" >> beam.Flatten()
    if options.corrections.path:
        judged = (unreadable, resolved)
        problems.append(judged | "Corrections" >> FindUncorrectable(options.corrections, corrections))
    lines = problems | "All problems" >> beam.Flatten()
    problem = (images, dropped, lines, tables) | "Problem" >> FindProblem(options)
    return Curated(listed, checked, readable, dropped, images, near, frequent_lesions, corrections, problem, recorded)


def reject_license(row: ImageRow, allowed: Sequence[str]) -> ImageRow:
    """Return the row, rejected (`license`) unless it has a licence and every licence that tables give it is allowed.

    Rows that already have an outcome are returned unchanged.
    """
    names = {normalize_license(name) for name in row.licenses}
    if row.outcome or (names and names <= set(map(normalize_license, allowed))):
        return row
    return row.rejected("license", "license", f"licence {' and '.join(sorted(names)) or 'unknown'} is not allowed")
