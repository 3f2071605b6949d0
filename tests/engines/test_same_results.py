"""Engines give what the local runner gives: the same bytes, scores, counts and exit codes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from deploy.engines.engine import Engine
from tests.support.commands import Command
from tests.support.engines import BUCKET, IN_BUCKET, Inputs, Places, audit, digests, prepare, score
from tests.support.gcs import Environment, fetch
from tests.support.scoring import only_partition, probabilities, rejects, scores
from tests.support.tiny_dataset import CLASSES

pytestmark = pytest.mark.engines

# What does not name the place of an image.
PLACELESS = ("*.tfrecord", "dataset.json", "schema.pbtxt", "known-*")
ALL = (*PLACELESS, "manifest-*", "rejects-*", "report.*")


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a job says of its images. Speed differs, and so do places: each is the end of its line."""
    lines = [
        line for line in done.stdout.splitlines() if "images/s" not in line and not line.startswith(("read ", "for "))
    ]
    return [re.sub(r"(gs:/)?/\S+", "PLACE", line) for line in lines]


def same_dataset(found: Path, local: Places) -> None:
    expected = digests(local.folder / "dataset", *ALL)
    assert len(expected) > 8
    assert digests(found, *ALL) == expected


def test_prepare_gives_the_same_bytes(prepared: tuple[subprocess.CompletedProcess[str], Path], local: Places) -> None:
    done, output = prepared
    assert done.returncode == 0, done.stderr
    same_dataset(output, local)
    assert said(done) == said(local.prepared)
    assert not (output / ".unfinished").exists()


@pytest.mark.engines_long
def test_prepare_on_one_slot_gives_the_same_bytes(
    command: Command, engine: Engine, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    done = prepare(command, inputs, str(tmp_path / "out"), *engine.options, *engine.set_slots(1))
    assert done.returncode == 0, done.stderr
    same_dataset(tmp_path / "out", local)
    assert said(done) == said(local.prepared)
    assert not (tmp_path / "out" / ".unfinished").exists()


def test_audit_gives_the_same_figures_and_rejects_beyond_the_limit_are_exit_code_1(
    command: Command, engine: Engine, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    options = ("--max_reject_fraction", 0.001, *engine.options, *engine.set_slots(2))
    done = audit(command, inputs, str(tmp_path / "audit"), *options)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert said(done) == said(local.audited)
    found, expected = (
        json.loads((folder / "audit.json").read_text()) for folder in (tmp_path / "audit", local.folder / "audit")
    )
    assert found == expected


def same_scores(found: Path, expected: Path, here: str, there: str) -> None:
    """The same rows, to the last bits of a float, and the same rejects and counts; places begin otherwise."""
    rows, wanted = ({row["path"]: row for row in scores(partition)} for partition in (found, expected))
    assert {path.removeprefix(there) for path in rows} == {path.removeprefix(here) for path in wanted}
    assert len(rows) > 10
    for path, row in rows.items():
        other = wanted[here + path.removeprefix(there)]
        np.testing.assert_allclose(probabilities(row, CLASSES), probabilities(other, CLASSES), atol=1e-6)
    assert [line["path"].removeprefix(there) for line in rejects(found)] == [
        line["path"].removeprefix(here) for line in rejects(expected)
    ]
    counts = [json.loads((partition / "_summary.json").read_text())["counts"] for partition in (found, expected)]
    assert counts[0] == counts[1]
    assert (found / "_report.html").exists()


def test_score_gives_the_same_scores(
    command: Command, engine: Engine, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    done = score(command, inputs, str(tmp_path / "scores"), *engine.options, *engine.set_slots(4))
    assert done.returncode == 0, done.stderr
    assert said(done) == said(local.scored)
    places = only_partition(tmp_path / "scores"), only_partition(local.folder / "scores")
    same_scores(*places, inputs.sample, inputs.sample)


def test_workers_that_share_only_a_bucket_prepare_the_same_bytes(
    process: Command, engine: Engine, bucket: Environment, local: Places, tmp_path: Path
) -> None:
    options = (*engine.options, *engine.set_slots(2))
    done = prepare(process, IN_BUCKET, f"gs://{BUCKET}/{tmp_path.name}/dataset", *options, env=bucket)
    assert done.returncode == 0, done.stderr
    made = fetch(bucket, BUCKET, f"{tmp_path.name}/dataset", tmp_path)
    assert digests(made, *PLACELESS) == digests(local.folder / "dataset", *PLACELESS)
    assert said(done) == said(local.prepared)


def test_workers_that_share_only_a_bucket_give_the_same_scores(
    process: Command, engine: Engine, bucket: Environment, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    options = (*engine.options, *engine.set_slots(2))
    done = score(process, IN_BUCKET, f"gs://{BUCKET}/{tmp_path.name}/scores", *options, env=bucket)
    assert done.returncode == 0, done.stderr
    made = only_partition(fetch(bucket, BUCKET, f"{tmp_path.name}/scores", tmp_path))
    same_scores(made, only_partition(local.folder / "scores"), inputs.sample, IN_BUCKET.sample)


def test_what_a_job_finds_wrong_is_one_line_and_exit_code_2(
    command: Command, engine: Engine, inputs: Inputs, tmp_path: Path
) -> None:
    # Known once labels are joined: classes have eight lesions.
    done = prepare(command, inputs, str(tmp_path / "out"), "--folds", 10, "--split_fractions", "1,0,0", *engine.options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pipelines.prepare: error: ")
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.engines_long
def test_an_update_gives_the_same_bytes(
    command: Command, engine: Engine, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    updates = []
    for name, options in (("local", ()), ("engine", (*engine.options, *engine.set_slots(2)))):
        shutil.copytree(local.folder / "dataset", tmp_path / name)
        done = prepare(command, inputs, str(tmp_path / name), "--update", *options)
        assert done.returncode == 0, done.stderr
        assert "were there already" in done.stdout
        updates.append((said(done), digests(tmp_path / name, *ALL)))
    assert len(updates[0][1]) > 8
    assert updates[1] == updates[0]
