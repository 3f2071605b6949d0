"""What scoring gives besides tables, and takes besides photographs; counters; buckets; worker processes."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics import MetricsFilter

from pipelines.beam.arguments import BeamArguments
from pipelines.common.cli import UsageError
from pipelines.common.text import printable
from pipelines.dataset.records import read_shard
from pipelines.score import command as score_command
from pipelines.score import pipeline as score_pipeline
from pipelines.score.job import plan_run
from pipelines.score.options import parse_options
from pipelines.storage import output
from tests.support.bigquery_server import local_bigquery
from tests.support.browser import dump_dom, parse
from tests.support.challenge_scorer import scorer, write_truth
from tests.support.commands import Command, besides_progress
from tests.support.documents import change_model
from tests.support.gcs import local_gcs, open_bucket, upload
from tests.support.scoring import export_untrained, model_json, only_partition, probabilities, rejects, scores

SIZE = 32
TABLE = "lesions-1:nightly.scores"
HOSTILE = (
    "<img src=x onerror=document.title='run'>.jpg",
    "\udcff not utf-8 \udc80.jpg",
    "two\nlines.jpg",
    "'\"&amp;.jpg",
)
# Loaded by every Python process of a command: says which of them import TensorFlow.
WATCH = """
import os, sys

def heard(event, arguments):
    if event == "import" and arguments[0] == "tensorflow":
        with open(os.environ["TENSORFLOW_USERS"], "a") as file:
            file.write(f"{os.getpid()}\\n")

sys.addaudithook(heard)
"""


@pytest.fixture(scope="module")
def dataset(command: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as prepare stores it, with the classes of the challenge of 2018."""
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    done = command(
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
        *("--output", folder, "--image_size", SIZE, "--classes", "ham7", "--max_reject_fraction", 1),
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_untrained(dataset, tmp_path_factory.mktemp("exported") / "model", 1)


@pytest.fixture(scope="module")
def photographs(sample: Path) -> list[bytes]:
    """Whole JPEGs of the sample."""
    paths = sorted(path for path in (sample / "images").rglob("*.jpg") if path.stat().st_size > 1500)
    return [path.read_bytes() for path in paths[:16]]


@pytest.fixture
def images(photographs: list[bytes], tmp_path: Path) -> Path:
    """A folder of them, with a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, data in enumerate(photographs):
        (folder / f"ISIC_{number:07d}.jpg").write_bytes(data)
    (folder / "text.png").write_bytes(b"text")
    return folder


def arguments(source: object, model: object, folder: object, *more: object) -> list[str]:
    return [str(part) for part in ("--input", source, "--model", model, "--output", folder, *more)]


def plan(*given: Any) -> tuple[Any, Any]:
    options, rest = parse_options(arguments(*given))
    beam_arguments = BeamArguments(rest, "score")
    return plan_run(options, beam_arguments, datetime.datetime.now(datetime.UTC)), beam_arguments.options


def run(*given: Any) -> Path:
    """A run in this process; gives its partition."""
    score_command.main(arguments(*given))
    return given[2] / f"run={given[given.index('--run') + 1]}" if "--run" in given else only_partition(given[2])


def summary(partition: Path) -> dict[str, Any]:
    return json.loads((partition / "_summary.json").read_text())


@pytest.fixture(scope="module")
def reported(
    command: Command, model: Path, photographs: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run with report and submission over names that are hard; and what the command printed."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "images").mkdir()
    for number, data in enumerate(photographs):
        name = HOSTILE[number] if number < len(HOSTILE) else f"ISIC_{number:07d}.jpg"
        (folder / "images" / name).write_bytes(data)
    (folder / "images" / "<b>bad.jpg").write_bytes(b"bad")
    more = ("--report", "--report_top", 12, "--submission")
    done = command("pipelines.score", *arguments(folder / "images", model, folder / "scores", *more))
    assert done.returncode == 0, done.stderr
    return only_partition(folder / "scores"), done


def test_nothing_is_said_twice(reported: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    partition, done = reported
    lines = done.stdout.splitlines()
    assert len(set(lines)) == len(lines)
    assert lines[0] == "listed 17 = scored 16 + rejected 1"
    assert lines[-1] == f"scores {partition}"
    assert besides_progress(done.stderr) == []


def test_the_report_shows_the_top_images_with_what_the_model_saw(
    reported: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    partition, _ = reported
    page = parse(dump_dom(partition / "_report.html"))
    (title,) = page.find("title")
    assert title.text() == "Triage report"
    rows = sorted(scores(partition), key=lambda row: (-row["malignancy_score"], row["path"]))
    cards = [element for element in page.find("article") if "card" in element.attributes["class"].split()]
    assert len(cards) == 12
    shown = [next(e for e in card if e.attributes.get("class") == "path").text() for card in cards]
    # The report's own order of equal scores is its business; those of this model are all different.
    assert [path[-12:] for path in shown] == [row["path"][-12:] for row in rows[:12]]
    for card in cards:
        pictures = card.find("img")
        assert len(pictures) == 2
        assert all(picture.attributes["src"].startswith("data:image/jpeg;base64,") for picture in pictures)
        assert pictures[0].attributes["src"] != pictures[1].attributes["src"]
    assert not [element for element in page if element.attributes.get("onerror")]
    text = page.text()
    assert "<b>bad.jpg" in text
    assert any(printable(name) in text for name in HOSTILE)


def test_the_challenge_s_scorer_takes_the_submission(
    reported: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    partition, _ = reported
    data = (partition / "_submission.csv").read_bytes()
    said = summary(partition)["submission"]
    assert said == {"challenge": "ISIC 2018 task 3", "images": 16}
    header, *lines = data.decode().replace("two\nlines", "two lines").splitlines()
    ids = [line.rsplit(",", 7)[0] for line in lines]
    assert len(ids) == 16
    # The scorer's own reading of names with line breaks and quotes is not asked here.
    kept = [line for line, name in zip(lines, ids, strict=True) if name.startswith("ISIC_")]
    columns = header.split(",")
    shown = {line.split(",")[0]: columns[1 + number % 7] for number, line in enumerate(kept)}
    truth = write_truth(tmp_path / "truth.csv", columns, shown)
    done = scorer(tmp_path, truth, ("\n".join([header, *kept]) + "\n").encode())
    assert done.returncode == 0, done.stderr
    assert "balanced_accuracy" in done.stdout


def test_records_of_a_dataset_are_scored_as_the_model_s_signature_says(
    dataset: Path, model: Path, tmp_path: Path
) -> None:
    import tensorflow as tf

    partition = run(dataset, model, tmp_path / "scores", "--report", "--report_top", 5)
    shards = sorted(path.name for path in dataset.glob("*.tfrecord"))
    stored = [image for shard in shards for image in read_shard(str(dataset), shard) if image.copy == 0]
    rows = {row["path"]: row for row in scores(partition)}
    assert set(rows) == {f"{dataset}/{image.shard}!/{image.image_id}" for image in stored}
    signature = tf.saved_model.load(str(model)).signatures["records"]
    expected = signature(image_encoded=tf.constant([image.encoded for image in stored]))["probabilities"].numpy()
    classes = model_json(model)["classes"]
    for image, wanted in zip(stored, expected, strict=True):
        row = rows[f"{dataset}/{image.shard}!/{image.image_id}"]
        np.testing.assert_allclose(probabilities(row, classes), wanted, atol=1e-5)
        assert row["image_id"] == image.image_id
    assert (partition / "_report.html").read_text().count("data:image/jpeg") == 10


def test_records_that_a_model_cannot_take_are_refused(dataset: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tta: cannot turn the records of .*; leave it out"):
        plan(dataset, model, tmp_path / "scores", "--tta")
    other = tmp_path / "other"
    shutil.copytree(model, other)
    for change, says in (({"image_size": 64}, "jpeg of 64"), ({"encoding": "png"}, "png of 32")):
        change_model(other, **{**model_json(model), **change})
        with pytest.raises(UsageError, match=f"its records are jpeg of 32 pixels, {other} takes {says}"):
            plan(dataset, other, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_a_manifest_names_what_is_scored(images: Path, model: Path, tmp_path: Path) -> None:
    chosen = sorted(images.glob("*.jpg"))[:5]
    names = [*map(str, chosen), str(chosen[0]), str(images / "missing.jpg")]
    pq.write_table(pa.table({"other": range(7), "path": names}), tmp_path / "list.parquet")
    partition = run(tmp_path / "list.parquet", model, tmp_path / "scores", "--format", "jsonl")
    (table,) = partition.glob("scores-*.jsonl")
    assert sorted(json.loads(line)["path"] for line in table.read_text().splitlines()) == names[:5]
    assert [(line["path"], line["reason"]) for line in rejects(partition)] == [(names[6], "unreadable")]


def test_what_could_not_be_read_is_tried_again_and_what_is_broken_is_not(
    images: Path, model: Path, tmp_path: Path
) -> None:
    (images / "dangling.jpg").symlink_to(tmp_path / "later.jpg")
    (images / "broken.jpg").write_bytes((images / "ISIC_0000000.jpg").read_bytes()[:900])
    given = (images, model, tmp_path / "scores", "--previous", tmp_path / "scores")
    # The second night nothing is rejected that was not before: no reason for another exit code.
    nights = (("--run", "1", "--max_reject_fraction", 1), ("--run", "2", "--max_reject_fraction", 0))
    counts = [summary(run(*given, *night))["counts"] for night in nights]
    shutil.copy(images / "ISIC_0000000.jpg", tmp_path / "later.jpg")
    third = run(*given, "--run", "3")
    assert [line["path"] for line in rejects(tmp_path / "scores" / "run=2")] == [str(images / "dangling.jpg")]
    assert [row["path"] for row in scores(third)] == [str(images / "dangling.jpg")]
    first = {"listed": 19, "ignored": 0, "unchanged": 0, "scored": 16, "rejected": 3}
    assert [*counts, summary(third)["counts"]] == [
        first,
        {**first, "unchanged": 18, "scored": 0, "rejected": 1},
        {**first, "unchanged": 18, "scored": 1, "rejected": 0},
    ]


def test_counters_are_among_the_run_s_metrics(images: Path, model: Path, tmp_path: Path) -> None:
    import apache_beam as beam

    run(images, model, tmp_path / "scores", "--run", "1")
    (images / "more.jpg").write_bytes((images / "ISIC_0000000.jpg").read_bytes())
    (images / "empty.jpg").write_bytes(b"")
    job, options = plan(images, model, tmp_path / "scores", "--run", "2", "--previous", tmp_path / "scores")
    score_pipeline.require_models(job.run)
    attempt = output.begin(job.partition)
    pipeline = beam.Pipeline(options=options)
    score_pipeline.build(pipeline, job, attempt, unattended=False)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("score"))
    counters = {counter.key.metric.name: counter.committed for counter in found["counters"]}
    expected = {"listed": 19, "unchanged": 17, "scored": 1, "rejected": 1, "rejected_empty_file": 1}
    expected["read_bytes"] = (images / "more.jpg").stat().st_size
    # RunInference's own.
    expected["num_inferences"] = 1
    assert {name: counters.get(name) for name in expected} == expected
    assert any("latency" in distribution.key.metric.name for distribution in found["distributions"])


@pytest.mark.proof
def test_worker_processes_share_one_model(process: Command, images: Path, model: Path, tmp_path: Path) -> None:
    alone = run(images, model, tmp_path / "alone")
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    users = tmp_path / "users"
    done = process(
        "pipelines.score",
        *arguments(images, model, tmp_path / "scores", "--batch_size", 2),
        *("--direct_running_mode", "multi_processing", "--direct_num_workers", 2),
        env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "TENSORFLOW_USERS": str(users)},
    )
    assert done.returncode == 0, done.stderr
    # This command's own process, which has checked the model, and the one that serves it to both workers.
    assert len(set(users.read_text().splitlines())) == 2
    lines = done.stdout.splitlines()
    assert len(set(lines)) == len(lines)
    classes = model_json(model)["classes"]
    expected = {row["path"]: probabilities(row, classes) for row in scores(alone)}
    found = {row["path"]: probabilities(row, classes) for row in scores(only_partition(tmp_path / "scores"))}
    assert found.keys() == expected.keys()
    for path, values in found.items():
        np.testing.assert_allclose(values, expected[path], atol=1e-5)


@pytest.mark.proof
def test_two_nights_in_a_bucket_score_each_object_once(
    process: Command, images: Path, model: Path, tmp_path: Path
) -> None:
    """The second asks for no object that it knows already, and scores go to a table of BigQuery."""
    root = "gs://lesions"
    with (
        local_gcs(tmp_path, "lesions") as storage,
        local_bigquery(tmp_path, storage["STORAGE_EMULATOR_HOST"]) as (service, environment),
    ):
        upload(storage, "lesions", images, "images")
        upload(storage, "lesions", model, "model")
        given = arguments(f"{root}/images", f"{root}/model", f"{root}/scores", "--previous", f"{root}/scores")
        table = ("--output_table", TABLE, "--temp_location", f"{root}/temporary", "--project", "lesions-1")
        both = {**storage, **environment}
        bucket = open_bucket(storage, "lesions")
        left = f"temporary/load-{hashlib.sha256(f'{root}/scores'.encode()).hexdigest()[:16]}/bq_load/left"
        for name in (left, "temporary/load-of-another/bq_load/x"):
            bucket.blob(name).upload_from_string("{}")
        first = process("pipelines.score", *given, "--run", "1", *table, env=both)
        assert first.returncode == 0, first.stderr
        assert "listed 17 = scored 16 + rejected 1" in first.stdout
        for name, number in (("new.jpg", 3), ("ISIC_0000005.jpg", 4)):
            bucket.blob(f"images/{name}").upload_from_filename(images / f"ISIC_{number:07d}.jpg")
        storage.requests.clear()
        second = process("pipelines.score", *given, "--run", "2", env=storage)
        requests = list(storage.requests)
        assert second.returncode == 0, second.stderr
        assert "listed 18 = scored 2 + rejected 0 + unchanged 16" in second.stdout
        names = {blob.name for blob in bucket.list_blobs()}
        partition = tmp_path / "run=2"
        partition.mkdir()
        for blob in bucket.list_blobs(prefix="scores/run=2/"):
            blob.download_to_filename(partition / blob.name.rpartition("/")[2])
    assert not [name for name in names if "unfinished" in name]
    assert {name for name in names if "load" in name} == {"temporary/load-of-another/bq_load/x"}
    fresh = {f"{root}/images/{name}.jpg" for name in ("new", "ISIC_0000005")}
    assert {row["path"] for row in scores(partition)} == fresh
    known = ("text.png", *(f"ISIC_{number:07d}.jpg" for number in range(16) if number != 5))
    assert any("new.jpg" in request for request in requests)
    # One is looked at to see that the archive may be read.
    of_known = [request for request in requests if any(name in request for name in known)]
    assert len(of_known) <= 1
    assert not any("alt=media" in request for request in of_known)
    assert service.other == []
    loaded = service.tables[TABLE]
    assert len({line["row_id"] for line in loaded}) == len(loaded) == 16
    assert {line["path"] for line in loaded} == {f"{root}/images/ISIC_{number:07d}.jpg" for number in range(16)}
