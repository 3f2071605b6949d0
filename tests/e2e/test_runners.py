"""The same bytes and scores on a job server with workers of its own; `test_prepare` compares several processes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import Command
from tests.support.engine_faults import wait_until
from tests.support.portable import job_server
from tests.support.scoring import export_untrained, only_partition, probabilities, rejects, scores, write_images
from tests.support.tiny_dataset import CLASSES, write_dataset

ROOT = Path(__file__).resolve().parents[2]


def prepare(process: Command, sample: Path, output: Path, *more: object) -> dict[str, str]:
    done = process(
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
        *("--output", output, "--image_size", 32, *more),
    )
    assert done.returncode == 0, done.stderr
    names = ("*.tfrecord", "manifest-*", "rejects-*", "known-*", "dataset.json", "report.*")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for name in names for path in output.glob(name)}


@pytest.mark.proof
def test_promise_3_a_job_server_with_workers_of_its_own_gives_the_same_bytes(
    process: Command, sample: Path, tmp_path: Path
) -> None:
    in_memory = prepare(process, sample, tmp_path / "memory")
    assert len(in_memory) > 8
    with job_server(ROOT, tmp_path) as portable:
        assert prepare(process, sample, tmp_path / "out", *portable) == in_memory
    assert "worker" in (tmp_path / "workers.log").read_text()


@pytest.mark.proof
def test_an_audit_that_is_left_running_ends_without_its_command(process: Command, sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "audit"
    with job_server(ROOT, tmp_path) as portable:
        done = process(
            *("pipelines.audit", "--input", sample / "images", "--output", output, *portable, "--no_wait_until_finish")
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"left running; {output / 'audit.json'} appears when it is done\n"
        wait_until((output / "audit.json").exists, "the job ends")
    assert json.loads((output / "audit.json").read_text())["counts"]["listed"] > 0


@pytest.mark.proof
def test_a_job_server_with_workers_of_its_own_gives_the_same_scores(process: Command, tmp_path: Path) -> None:
    model = export_untrained(write_dataset(tmp_path), tmp_path / "model", 1)
    archive = tmp_path / "archive"
    first, *_ = write_images(archive, 24)
    (archive / "broken.jpg").write_bytes(first.read_bytes()[:700])
    partitions = []
    with job_server(ROOT, tmp_path) as portable:
        for name, more in (("memory", []), ("portable", portable)):
            output = tmp_path / name
            done = process(
                *("pipelines.score", "--input", archive, "--model", model, "--output", output, "--report", *more)
            )
            assert done.returncode == 0, done.stderr
            partitions.append(only_partition(output))
    assert "worker" in (tmp_path / "workers.log").read_text()
    expected, found = ({row["path"]: row for row in scores(partition)} for partition in partitions)
    assert len(expected) == 24
    assert set(found) == set(expected)
    for path, row in found.items():
        np.testing.assert_allclose(probabilities(row, CLASSES), probabilities(expected[path], CLASSES), atol=1e-6)
    assert [line["path"] for line in rejects(partitions[1])] == [str(archive / "broken.jpg")]
    counts = [json.loads((partition / "_summary.json").read_text())["counts"] for partition in partitions]
    assert counts[0] == counts[1]
    assert (partitions[1] / "_report.html").exists()
