"""What is refused on gs://, by the commands themselves; `test_gcs_faults` has what works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Command
from tests.support.dataflow_server import local_dataflow
from tests.support.gcs import Environment, local_gcs, open_bucket, upload

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
