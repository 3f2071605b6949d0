"""Training and evaluation on gs://, as commands, against the local bucket: a machine goes on where another was lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.cli import EXIT_RESTART
from tests.e2e.test_task import final_state
from tests.support.commands import besides_progress
from tests.support.gcs import local_gcs, open_bucket, upload
from tests.support.gcs_proxy import Door, door, once
from tests.support.tiny_dataset import ROOT, command
from trainer.evaluate.options import OURS

BUCKET = "lesions"
DATASET, RUN = f"gs://{BUCKET}/dataset", f"gs://{BUCKET}/runs/one"


class Store:
    """The bucket behind its door, and the environment of machines that use it."""

    def __init__(self, folder: Path, environment: dict[str, str], opened: Door):
        self.door, self.bucket = opened, open_bucket(environment, BUCKET)
        self._folder, self.environment = folder, {**environment, "STORAGE_EMULATOR_HOST": opened.url}

    def machine(self, name: str) -> dict[str, str]:
        """The environment of a machine; one that has not been used before has nothing of earlier runs."""
        home = self._folder / name
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        return {**os.environ, **self.environment, "TMPDIR": str(home / "tmp"), "XDG_CACHE_HOME": str(home / "cache")}

    def left(self, name: str) -> list[Path]:
        """What our programs left in a machine's folder of temporary files. (TensorFlow leaves its own when killed.)"""
        return list((self._folder / name / "tmp").glob("lesions-*"))

    def names(self, prefix: str = "runs/") -> set[str]:
        return {blob.name.removeprefix(prefix) for blob in self.bucket.client.list_blobs(self.bucket, prefix=prefix)}

    def json(self, name: str) -> Any:
        return json.loads(self.bucket.blob(name).download_as_bytes())

    def fetch(self, prefix: str, target: Path) -> Path:
        for blob in self.bucket.client.list_blobs(self.bucket, prefix=prefix):
            path = target / blob.name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(str(path))
        return target


@pytest.fixture(scope="module")
def store(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("gcs")
    with local_gcs(folder, BUCKET) as environment, door(environment["STORAGE_EMULATOR_HOST"]) as opened:
        upload(environment, BUCKET, dataset, "dataset")
        yield Store(folder, environment, opened)


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)


def evaluate(*options: str) -> list[str]:
    return [sys.executable, "-m", "trainer.evaluate", "--bootstrap=20", *options]


def fingerprint(run_directory: Path) -> str:
    return said(run_directory)["weights_fingerprint"]


def said(run_directory: Path) -> dict[str, Any]:
    """What the model says of itself."""
    return json.loads((run_directory / "model/assets/model.json").read_text())


def kill_after(store: Store, arguments: list[str], machine: str, fragment: str, count: int) -> None:
    """Run a command on a machine and kill it when the bucket has done so many requests with this in their lines."""
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=store.machine(machine), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    seen = []

    def passed(method: str, path: str) -> None:
        line = urllib.parse.unquote(f"{method} {path}")
        seen.extend([line] * (fragment in line))
        if len(seen) == count:
            process.send_signal(signal.SIGKILL)

    store.door.passed = passed
    try:
        _, error = process.communicate()
    finally:
        store.door.passed = lambda method, path: None
    assert process.returncode == -signal.SIGKILL, error


@pytest.mark.proof
def test_a_run_that_lost_two_machines_ends_with_the_weights_of_an_unbroken_one(
    store: Store, trained: Path, dataset: Path, tmp_path: Path
) -> None:
    arguments = command(DATASET, RUN, "--checkpoint_steps=4")
    # The bucket is busy: every read and write is refused once.
    store.door.fault = once(503, "/o")
    pipe, machine = subprocess.PIPE, store.machine("one")
    with subprocess.Popen(arguments, cwd=ROOT, env=machine, text=True, stdout=pipe, stderr=pipe) as first:
        assert first.stdout is not None
        assert first.stderr is not None
        for line in first.stdout:
            if line.startswith("epoch 1/"):
                first.send_signal(signal.SIGTERM)
        error = first.stderr.read()
    assert first.returncode == EXIT_RESTART, error
    assert besides_progress(error)[0].startswith("trainer.task: told to end (SIGTERM); saved after step ")
    assert store.left("one") == []
    assert {"one/run.json", "one/history.json", "one/checkpoints/checkpoint"} <= store.names()
    assert not any(name.startswith("one/model") for name in store.names())

    # Killed when the bucket has the state file of the third checkpoint; answers to uploads are lost once.
    store.door.fault = once("lost", "POST /upload")
    kill_after(store, arguments, "two", "name=runs/one/checkpoints/checkpoint", 3)
    store.door.fault = lambda method, path: None
    saved = store.bucket.blob("runs/one/checkpoints/checkpoint").download_as_bytes()
    names = {name for name in store.names() if name.startswith("one/checkpoints/ckpt-")}
    # All that the state file names is there, whatever else is.
    assert {f"one/checkpoints/{name}.index" for name in re.findall(r"ckpt-\d+", saved.decode())} <= names

    done = run(arguments, store.machine("three"))
    assert done.returncode == 0, done.stderr
    assert f"continuing the interrupted run in {RUN}\n" in done.stdout
    assert not re.search(r"^epoch [12]/", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"model: {RUN}/model\n")
    assert store.left("three") == []

    run_here = store.fetch("runs/one/", tmp_path / "run")
    unbroken, continued = final_state(trained), final_state(run_here)
    assert unbroken.keys() == continued.keys()
    for name, value in unbroken.items():
        assert np.array_equal(value, continued[name]), name
    assert fingerprint(trained) == fingerprint(run_here)
    assert {path.name for path in run_here.iterdir()} == {path.name for path in trained.iterdir()}
    # Of checkpoints, those are kept that a local run keeps.
    assert len(list((run_here / "checkpoints").iterdir())) == len(list((trained / "checkpoints").iterdir()))
    assert json.loads((run_here / "train.json").read_text())["resumed"]
    assert json.loads((run_here / "run.json").read_text())["options"]["output"] == RUN

    refused = run(arguments, store.machine("three"))
    assert refused.returncode == 2
    assert f"--output {RUN}: already holds a finished model" in refused.stderr


@pytest.mark.proof
def test_evaluation_from_and_to_the_bucket(store: Store, trained: Path, dataset: Path, tmp_path: Path) -> None:
    upload(store.environment, BUCKET, trained / "model", "models/whole")
    asked = []
    store.door.fault = lambda method, path: asked.append(urllib.parse.unquote(path))
    options = [f"--dataset={DATASET}", f"--model=gs://{BUCKET}/models/whole", f"--output=gs://{BUCKET}/runs/evaluation"]
    done = run(evaluate(*options), store.machine("four"))
    assert done.returncode == 0, done.stderr
    assert f"figures in gs://{BUCKET}/runs/evaluation/evaluation.json" in done.stdout
    assert store.names("runs/evaluation/") == set(OURS)
    result = store.json("runs/evaluation/evaluation.json")
    assert (result["images"], result["model"]["fingerprint"]) == (20, said(trained)["model_fingerprint"])
    assert result["dataset"]["path"] == DATASET
    assert store.left("four") == []
    # Only what is needed was read, and the summary was written last.
    shards = {path.partition("?")[0].rpartition("/")[2] for path in asked if ".tfrecord" in path}
    assert shards == {"test-00000-of-00002.tfrecord", "test-00001-of-00002.tfrecord"}
    assert [path for path in asked if "/.unfinished/" not in path][-1].startswith("/upload/")

    refused = run(evaluate(*options), store.machine("four"))
    assert refused.returncode == 2
    assert "is not empty; name another directory or add --overwrite" in refused.stderr

    asked.clear()
    again = run(evaluate(*options, "--overwrite"), store.machine("four"))
    assert again.returncode == 0, again.stderr
    assert not any(".tfrecord" in path for path in asked), "the copy of the shards is used again"
    assert store.json("runs/evaluation/evaluation.json")["figures"] == result["figures"]


def test_tables_in_the_bucket_may_have_any_name(store: Store, tmp_path: Path) -> None:
    names = [f"ISIC_{number:07d}" for number in range(4)]
    chances = [0.9, 0.2, 0.7, 0.4]
    columns = {"image_id": names, "probability_melanoma": chances, "probability_nevus": [1 - one for one in chances]}
    pq.write_table(pa.table(columns), tmp_path / "scores.parquet")
    kinds = ("melanoma", "nevus", "nevus", "nevus")
    rows = [f"{name},{kind},50\n" for name, kind in zip(names, kinds, strict=True)]
    (tmp_path / "LABELS.TXT").write_text("".join(["image,class,age\n", *rows]))
    upload(store.environment, BUCKET, tmp_path, "tables")
    places = (f"--{name}=gs://{BUCKET}/tables/{file}" for name, file in TABLES.items())
    done = run(evaluate(*places, f"--output=gs://{BUCKET}/runs/of-tables"), store.machine("five"))
    assert done.returncode == 0, done.stderr
    accuracy = store.json("runs/of-tables/evaluation.json")["figures"]["balanced_accuracy"]["value"]
    assert accuracy == pytest.approx((1 + 2 / 3) / 2)


TABLES = {"predictions": "scores.parquet", "labels": "LABELS.TXT", "metadata": "LABELS.TXT"}
TRAIN, EVALUATE = "trainer.task", "trainer.evaluate"


@pytest.mark.parametrize(
    ("module", "wrong", "says"),
    [
        (TRAIN, {"dataset": "gs://nowhere/dataset"}, "--dataset gs://nowhere/dataset: there is no bucket nowhere; "),
        (TRAIN, {"dataset": f"gs://{BUCKET}/none"}, f"--dataset gs://{BUCKET}/none: not a finished dataset"),
        (TRAIN, {"output": "gs://nowhere/out"}, "--output gs://nowhere/out: there is no bucket nowhere; "),
        (TRAIN, {"output": "gs://"}, "--output gs://: names no bucket; "),
        (TRAIN, {"output": DATASET}, f"--output {DATASET}: is not empty and holds no training run of ours; "),
        (EVALUATE, {"model": "gs://nowhere/model"}, "--model gs://nowhere/model: there is no bucket nowhere; "),
        (EVALUATE, {"model": DATASET}, f"--model {DATASET}: not a model directory (no saved_model.pb); "),
        (EVALUATE, {"output": DATASET}, f"--output {DATASET} is not empty; "),
        (EVALUATE, {"output": "s3://bucket/out"}, "--output s3://bucket/out: only local directories and gs://"),
    ],
)
def test_wrong_places_exit_2_with_one_line_and_write_nothing(
    store: Store, trained: Path, module: str, wrong: dict[str, str], says: str
) -> None:
    store.door.fault = lambda method, path: None
    before = store.names("")
    places = {"dataset": DATASET, "output": f"gs://{BUCKET}/runs/never", **wrong}
    if module == EVALUATE:
        places = {"model": str(trained / "model"), **places}
    options = [f"--{name}={value}" for name, value in places.items()]
    done = run([sys.executable, "-m", module, *options], store.machine("five"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"{module}: error: {says}")
    assert done.stderr.count("\n") == 1
    assert store.names("") == before
    assert store.left("five") == []


def test_an_output_that_may_not_be_written_is_found_before_the_work(store: Store) -> None:
    before = store.names("")
    store.door.fault = lambda method, path: 403 if method == "POST" else None
    done = run(command(DATASET, f"gs://{BUCKET}/runs/never"), store.machine("six"))
    store.door.fault = lambda method, path: None
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"trainer.task: error: --output gs://{BUCKET}/runs/never: may not make objects in ")
    assert done.stdout == ""
    assert store.names("") == before
