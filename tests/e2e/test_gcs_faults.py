"""Jobs on a bucket that is busy and whose connections break: the same bytes, nothing lost, nothing rejected."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Command
from tests.support.gcs import Environment, local_gcs, open_bucket, upload
from tests.support.gcs_faults import CutAnswer, CutRequest, LoseAnswer, Plan, Refuse, RefuseOneOfBatch, Rule, StopClient
from tests.support.gcs_tensorflow import tensorflow_gcs
from tests.support.killing import running, wait_until_stopped
from tests.support.scoring import export_untrained, only_partition, rejects, scores, write_images
from tests.support.tiny_dataset import write_dataset

BUCKET = "lesions"
ROOT = f"gs://{BUCKET}"
SIZE = 32


pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def bucket(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of a local bucket that holds the sample under sample/, with objects that stand for folders."""
    folder = tmp_path_factory.mktemp("gcs")
    with (
        local_gcs(folder, BUCKET, page=50) as environment,
        tensorflow_gcs(folder, environment["STORAGE_EMULATOR_HOST"]) as more,
    ):
        environment.update(more)
        upload(environment, BUCKET, sample, "sample")
        for name in ("sample/", "sample/images/", "sample/images/nevus/"):
            open_bucket(environment, BUCKET).blob(name).upload_from_string(b"")
        yield environment


def faults() -> Plan:
    """What may happen to requests of Beam and google-cloud-storage. TensorFlow's have a client of their own."""
    busy = Refuse(429), Refuse(503)
    # Each fault costs a second or so until what was asked for is asked for again.
    return Plan(
        Rule("one object refused for good", r"^GET /download/.*refused\.jpg", [Refuse(403, "no access")] * 9),
        Rule("read, broken", r"^GET /download/", [CutAnswer(300), Refuse(503), CutAnswer(1000)], share=40),
        Rule("read, busy", r"^GET /download/", busy, share=39),
        Rule("list", r"^GET /storage/v1/b/\w+/o\?.*prettyPrint", [*busy, CutAnswer()], share=25),
        Rule("look", r"^GET /storage/v1/b/\w+/o/.*prettyPrint", [Refuse(503), CutAnswer()], share=3),
        Rule("write", r"^POST /upload/.*multipart", [Refuse(503), None, CutRequest(), None, LoseAnswer(), Refuse(429)]),
        Rule("batch", r"^POST /batch", [Refuse(503), LoseAnswer(), None, RefuseOneOfBatch(), CutAnswer()]),
    )


def fetch(environment: dict[str, str], prefix: str, folder: Path) -> Path:
    """Copy what the bucket has below a prefix, which is nothing that stands for a folder."""
    for blob in list(open_bucket(environment, BUCKET).list_blobs(prefix=f"{prefix}/")):
        assert not blob.name.endswith("/")
        path = folder / blob.name.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob.download_as_bytes())
    return folder


def digests(dataset: Path) -> dict[str, str]:
    names = ("*.tfrecord", "dataset.json", "schema.pbtxt", "known-*")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for name in names for path in dataset.glob(name)}


def test_prepare_verify_show_and_audit_give_the_local_results(
    command: Command, process: Command, bucket: Environment, sample: Path, tmp_path: Path
) -> None:
    size = ("--image_size", SIZE, "--threads", 4)
    local = command(
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv", *size),
        *("--output", tmp_path / "local"),
    )
    assert local.returncode == 0, local.stderr
    there = ("--input", f"{ROOT}/sample/images", "--metadata", f"{ROOT}/sample/metadata.csv")
    bucket.faults = plan = faults()
    done = process("pipelines.prepare", *there, *size, "--output", f"{ROOT}/dataset", env=bucket)
    assert done.returncode == 0, done.stderr
    assert set(plan.struck) >= {"read, broken", "read, busy", "list", "look", "write", "batch"}, plan.struck
    made = fetch(bucket, "dataset", tmp_path / "made")
    assert len(digests(made)) == 8
    assert digests(made) == digests(tmp_path / "local")
    assert {line["reason"] for line in rejects(made)} == {line["reason"] for line in rejects(tmp_path / "local")}

    bucket.faults = plan = faults()
    checked = process("pipelines.verify", f"{ROOT}/dataset", env=bucket)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[-1] == "ok"
    assert plan.struck.total()

    bucket.faults = plan = faults()
    shown = process(
        *("pipelines.show", f"{ROOT}/dataset", "-n", 4, "--output", f"{ROOT}/sheet.png"),
        env=bucket,
    )
    assert shown.returncode == 0, shown.stderr
    assert f"\nwrote {ROOT}/sheet.png\n" in shown.stdout
    assert plan.struck.total()

    bucket.faults = plan = faults()
    audited = process("pipelines.audit", *there, "--output", f"{ROOT}/audit", env=bucket)
    assert audited.returncode == 0, audited.stderr
    assert set(plan.struck) >= {"read, broken", "write", "batch"}, plan.struck
    found = json.loads((fetch(bucket, "audit", tmp_path / "audit") / "audit.json").read_text())["counts"]
    counts = json.loads((made / "dataset.json").read_text())["counts"]
    assert (found["listed"], found["rejected"]) == (counts["listed"], counts["rejected"])


def test_score_gives_the_local_results(command: Command, process: Command, bucket: Environment, tmp_path: Path) -> None:
    model = export_untrained(write_dataset(tmp_path), tmp_path / "model", 1)
    archive = tmp_path / "archive"
    images = write_images(archive, 40)
    packed = images[20:]
    with zipfile.ZipFile(archive / "some.zip", "w") as opened:
        for path in packed:
            opened.write(path, path.name)
            path.unlink()
    upload(bucket, BUCKET, model, "model")
    upload(bucket, BUCKET, archive, "archive")
    open_bucket(bucket, BUCKET).blob("archive/empty.jpg").upload_from_string(b"")
    open_bucket(bucket, BUCKET).blob("archive/refused.jpg").upload_from_filename(str(images[0]))

    def given(place: Path | str) -> tuple[object, ...]:
        return ("--input", f"{place}/archive", "--input", f"{place}/archive/some.zip", "--run", "one", "--threads", 4)

    bucket.faults = plan = faults()
    output = f"{ROOT}/scores"
    done = process("pipelines.score", *given(ROOT), "--model", f"{ROOT}/model", "--output", output, env=bucket)
    assert done.returncode == 0, done.stderr
    assert set(plan.struck) >= {"one object refused for good", "read, broken", "write", "batch"}, plan.struck
    made = only_partition(fetch(bucket, "scores", tmp_path / "made"))
    why = {line["path"].rpartition("/")[2]: (line["stage"], line["reason"]) for line in rejects(made)}
    assert why == {"empty.jpg": ("check", "empty_file"), "refused.jpg": ("read", "unreadable")}

    done = command("pipelines.score", *given(tmp_path), "--model", model, "--output", tmp_path / "local")
    assert done.returncode == 0, done.stderr

    def by_name(partition: Path) -> dict[str, Any]:
        rows = {row["path"].rpartition("/")[2]: row for row in scores(partition)}
        return {
            name: {key: row[key] for key in row if key.startswith(("sha256", "probability_"))}
            for name, row in rows.items()
        }

    assert len(by_name(made)) == 40
    assert by_name(made) == by_name(only_partition(tmp_path / "local"))


def stop_when_publishing(process: int, batch: int) -> Callable[[str, str], StopClient | None]:
    """Stop a run after it has had so many batches of requests done since it began to put its files in place."""
    seen: Counter[str] = Counter()

    def fault(method: str, path: str) -> StopClient | None:
        # The first time it asks for the list of its files it has not written it.
        seen["list"] += method == "GET" and "ready.json" in path
        seen["batch"] += method == "POST" and path.startswith("/batch") and seen["list"] > 1
        if seen["batch"] != batch or seen["stopped"]:
            return None
        seen["stopped"] += 1
        return StopClient(process)

    return fault


@pytest.mark.parametrize(
    ("moment", "batch"), [("files are copied", 1), ("and taken from where they were", 2), ("the marker too", 3)]
)
def test_a_run_that_is_stopped_keeps_others_out_and_killed_it_is_repeated(
    command: Command, process: Command, bucket: Environment, sample: Path, tmp_path: Path, moment: str, batch: int
) -> None:
    output = f"{ROOT}/{moment.replace(' ', '-')}"
    given = [
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
        *("--image_size", SIZE, "--output"),
    ]
    local = command(*given, tmp_path / "local")
    assert local.returncode == 0, local.stderr
    with running([sys.executable, "-m", *map(str, [*given, output])], bucket) as run:
        bucket.faults = stop_when_publishing(run.pid, batch)
        wait_until_stopped(run)
        for other in ([*given, output, "--overwrite"], ["pipelines.verify", output]):
            done = process(*other, env=bucket)
            assert done.returncode == 2, done.stderr
            assert f" {output}: is being written by process {run.pid} on " in done.stderr
    done = process(*given, output, "--overwrite", env=bucket)
    assert done.returncode == 0, done.stderr
    made = fetch(bucket, output.removeprefix(f"{ROOT}/"), tmp_path / "made")
    assert digests(made) == digests(tmp_path / "local")
    assert not [path for path in made.rglob("*") if ".unfinished" in str(path)]
