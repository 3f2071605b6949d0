"""What the commands refuse on gs://, and how often they ask for an image; `test_gcs_faults` has what works."""

from __future__ import annotations

import urllib.parse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.commands import Command
from tests.support.dataflow_server import local_dataflow
from tests.support.gcs import Environment, local_gcs, open_bucket, service_account, upload

BUCKET = "lesions"


@pytest.fixture(scope="module")
def bucket(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of a local bucket that holds the sample under gs://lesions/sample/."""
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment:
        upload(environment, BUCKET, sample / "images", "sample/images")
        csv = tmp_path_factory.mktemp("csv")
        (csv / "metadata.csv").write_bytes((sample / "metadata.csv").read_bytes())
        upload(environment, BUCKET, csv, "sample")
        yield environment


def test_a_missing_bucket_is_refused(process: Command, bucket: Environment, tmp_path: Path) -> None:
    done = process("pipelines.prepare", "--input", "gs://no-such-bucket/x", "--output", tmp_path / "out", env=bucket)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    # google-auth adds, when it pleases, that Google is out of reach.
    assert done.stderr.count("pipelines.prepare: error: ") == 1
    assert "--input gs://no-such-bucket/x: there is no bucket no-such-bucket; " in done.stderr


def requests_of(environment: Environment, prefix: str) -> dict[str, list[str]]:
    """The requests for each object below a prefix, by its name, since the last call."""
    asked: dict[str, list[str]] = defaultdict(list)
    for line in environment.requests:
        method, _, path = line.partition(" ")
        _, _, name = urllib.parse.unquote(urllib.parse.urlsplit(path).path).partition(f"/b/{BUCKET}/o/")
        if name.startswith(prefix):
            asked[name].append(method)
    environment.requests.clear()
    return asked


def test_prepare_asks_for_each_image_once(process: Command, bucket: Environment, sample: Path, tmp_path: Path) -> None:
    given = (
        *("pipelines.prepare", "--input", f"gs://{BUCKET}/sample/images", "--output", tmp_path / "out"),
        *("--metadata", sample / "metadata.csv", "--image_size", 32, "--small_classes", "reject"),
    )
    names = {blob.name for blob in open_bucket(bucket, BUCKET).list_blobs(prefix="sample/images/")}
    bucket.requests.clear()
    said = []
    # A second run has known images and, of the rejected ones, some that must be decoded again.
    for more in ((), ("--update",)):
        done = process(*given, *more, env=bucket)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
        asked = requests_of(bucket, "sample/images/")
        rows = [row for path in (tmp_path / "out").glob("manifest-*") for row in pq.read_table(path).to_pylist()]
        assert {row["outcome"] for row in rows} >= {"written", "duplicate", "rejected"}
        assert {row["path"].removeprefix(f"gs://{BUCKET}/") for row in rows} <= names
        for row in rows:
            assert asked.pop(row["path"].removeprefix(f"gs://{BUCKET}/")) == ["GET"], row["path"]
        # The others are tables and notes that lie beside the images.
        assert not [name for name in asked if not name.endswith((".csv", ".txt"))]
    examples = said[1].rpartition("of ")[2].split()
    assert examples[0] == examples[2], said[1]


def test_a_project_in_which_no_job_is_taken(process: Command, bucket: Environment) -> None:
    message = "Dataflow API has not been used in project lesions-9 before or it is disabled."
    before = {blob.name for blob in open_bucket(bucket, BUCKET).list_blobs()}
    with local_dataflow() as dataflow:
        dataflow.refusal = 403, message
        done = process(
            *("pipelines.audit", "--input", f"gs://{BUCKET}/sample/images", "--output", f"gs://{BUCKET}/audit"),
            *("--metadata", f"gs://{BUCKET}/sample/metadata.csv", "--runner=DataflowRunner", "--project=lesions-9"),
            *("--region=europe-west4", f"--temp_location=gs://{BUCKET}/temp", "--sdk_container_image=x/y:1"),
            *(f"--dataflow_endpoint={dataflow.address}", "--no_auth"),
            env=bucket,
        )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "pipelines.audit: error: --project lesions-9: Dataflow in europe-west4 does not take the job" in done.stderr
    assert f"({message.rstrip('.')})" in done.stderr
    after = {blob.name for blob in open_bucket(bucket, BUCKET).list_blobs()}
    assert not [name for name in after - before if not name.startswith("temp/")]


@pytest.mark.proof
def test_workers_read_a_public_bucket_without_credentials(
    process: Command, bucket: Environment, sample: Path, tmp_path: Path
) -> None:
    # Google's own service as far as it is reached: whoever signs asks for a token, at a port where nobody gives any.
    here = {"STORAGE_EMULATOR_HOST": "", "API_ENDPOINT_OVERRIDE": bucket["STORAGE_EMULATOR_HOST"]}
    key = {"GOOGLE_APPLICATION_CREDENTIALS": str(service_account(tmp_path, 9))}
    nobody = {"GOOGLE_APPLICATION_CREDENTIALS": "", "HOME": str(tmp_path), "NO_GCE_CHECK": "true"}
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    for name, environment, more in (("told", key, ("--no_auth", *workers)), ("none", nobody, workers)):
        given = ("--input", f"gs://{BUCKET}/sample/images", "--metadata", sample / "metadata.csv")
        done = process("pipelines.audit", *given, "--output", tmp_path / name, *more, env={**here, **environment})
        assert done.returncode == 0, done.stderr
    assert {row["outcome"] for row in pq.read_table(next((tmp_path / "told").glob("manifest-*"))).to_pylist()} >= {
        "duplicate",
        "rejected",
    }
    assert "unreadable" not in (tmp_path / "none" / "audit.json").read_text()
