"""Decide about every input file: what it shows, which files belong with it, and which split it goes to.

prepare and audit share this part of the job. Nothing in it writes.
"""

from __future__ import annotations

from typing import NamedTuple

import apache_beam as beam

from pipelines import account, rows, sources
from pipelines.check import CheckImages
from pipelines.decision_options import DecisionOptions
from pipelines.feasibility import FindProblem, RejectSmallClasses
from pipelines.folds import AssignFolds
from pipelines.groups import AssignGroups, FindNear, Near
from pipelines.identity import ResolveImages
from pipelines.join_tables import JoinTables
from pipelines.known_images import Recall
from pipelines.licenses import reject_license
from pipelines.recorded import GiveRecorded
from pipelines.split import SplitFromFolders, SplitGroups
from pipelines.splits_file import GiveSplits


class Decided(NamedTuple):
    """Collections that are known once every file is judged."""

    listed: beam.PCollection  # one Counter, see `account.TallyListed`
    checked: beam.PCollection  # the row of every file, before any comparison
    readable: beam.PCollection  # the rows of files that could be decoded
    dropped: beam.PCollection  # rows with an outcome
    images: beam.PCollection  # the other rows, one per distinct image, with label, group, split and fold
    near: Near  # see `groups.FindNear`
    problem: beam.PCollection  # one line, see `feasibility.FindProblem`


def decide_images(pipeline: beam.Pipeline, options: DecisionOptions, threads: int, known: str = "") -> Decided:
    """Add list -> check -> join tables -> identify, label -> group -> split, fold to a pipeline.

    Args:
        pipeline: The pipeline to extend.
        options: The validated options.
        threads: Images processed at once per worker process.
        known: A dataset whose decoding results replace decoding its images again, see `known_images`; empty for none.
    """
    sides = rows.SIDES[options.on_leakage]
    chunks = pipeline | "List images" >> sources.ListImages([source.path for source in options.sources])
    listed = chunks | "Listed" >> account.TallyListed()
    checked = (
        chunks
        | "Check images"
        >> CheckImages(
            options.sources, options.class_set, options.split_from_folders, threads, Recall(known) if known else None
        )
        | "Join metadata" >> JoinTables(options.sources, options.metadata, options.class_set)
    )
    tables = checked | "Tables of image" >> beam.FlatMap(lambda row: row.tables)
    problems = pipeline | "No problem" >> beam.Create([], reshuffle=False)
    if options.splits_file:
        given = checked | "Give splits" >> GiveSplits(options.splits_file, options.columns)
        checked, problems = given.rows, given.problems
    if options.splits_from:
        checked |= "Give recorded" >> GiveRecorded(options.splits_from)
    unreadable, readable = checked | "Readable" >> rows.partition(rows.is_open)
    resolved = readable | "Images" >> ResolveImages(options.trust, sides)
    if options.licenses:
        # Only after resolving does a row have the licences of all files of its image.
        resolved |= "Licences" >> beam.Map(reject_license, options.licenses)
    near = resolved | "Near-duplicates" >> FindNear()
    distinct = near.rows | "Distinct" >> beam.Filter(rows.is_open)
    grouped = (distinct, near.pairs, resolved) | "Group" >> AssignGroups(options.group_by_patient)
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
    unsplit, images = divided | "In a split" >> rows.partition(rows.is_open)
    rejected = resolved | "Rejected" >> beam.Filter(lambda row: not rows.is_open(row))
    dropped = (unreadable, rejected, unsplit) | "Dropped" >> beam.Flatten()
    problem = (images, dropped, problems, tables) | "Problem" >> FindProblem(options)
    return Decided(listed, checked, readable, dropped, images, near, problem)
