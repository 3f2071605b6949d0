"""From inputs to a decision about every file: what it is, with which others it belongs, in which split it goes.

The part of the job that prepare and audit share; nothing in it writes.
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
    """What is known once every file is judged.

    listed: one Counter, see `account.TallyListed`. checked: the row of every file, before any comparison; readable:
    those that could be decoded.
    dropped: rows with an outcome; images: the other rows, with label, group, split and fold: one per
    distinct image.
    near: see `groups.FindNear`. problem: one line, see `plan.FindProblem`.
    """

    listed: beam.PCollection
    checked: beam.PCollection
    readable: beam.PCollection
    dropped: beam.PCollection
    images: beam.PCollection
    near: Near
    problem: beam.PCollection


def decide_images(pipeline: beam.Pipeline, options: DecisionOptions, threads: int, known: str = "") -> Decided:
    """Add list -> check -> join tables -> identify, label -> group -> split, fold to a pipeline.

    known: a dataset whose knowledge of images may be used instead of decoding them, see `known_images`.
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
        # Only now is known what all files of an image say of its licence.
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
