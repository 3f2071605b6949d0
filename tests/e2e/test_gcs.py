"""gs:// places that are looked into, shown, and refused; `test_gcs_faults` has the jobs themselves."""

from __future__ import annotations

import pytest
from dataflow_server import local_dataflow
from gcs import local_gcs, open_bucket, upload

BUCKET = "lesions"
SIZE = 32


@pytest.fixture(scope="module")
def bucket(sample, tmp_path_factory):
    """The environment of a local bucket that holds the sample under gs://lesions/sample/."""
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment:
        upload(environment, BUCKET, sample / "images", "sample/images")
        csv = tmp_path_factory.mktemp("csv")
        (csv / "metadata.csv").write_bytes((sample / "metadata.csv").read_bytes())
        upload(environment, BUCKET, csv, "sample")
        yield environment


def errors(stderr):
    """How often the command said what is wrong. google-auth adds, when it pleases, that Google is out of reach."""
    assert "Traceback" not in stderr
    return stderr.count("pipelines.prepare: error: ")


def test_show_in_a_bucket(command, bucket, sample, tmp_path):
    done = command(
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
        *("--output", tmp_path / "local", "--image_size", SIZE),
    )
    assert done.returncode == 0, done.stderr
    nothing = command("pipelines.verify", f"gs://{BUCKET}/no-dataset", env=bucket)
    assert nothing.returncode == 2
    assert f"DATASET gs://{BUCKET}/no-dataset: no such folder, or nothing in it" in nothing.stderr

    upload(bucket, BUCKET, tmp_path / "local", "dataset")
    show = ("pipelines.show", f"gs://{BUCKET}/dataset", "-n", 4, "--output", f"gs://{BUCKET}/sheet.png")
    done = command(*show, env=bucket)
    assert done.returncode == 0, done.stderr
    assert f"\nwrote gs://{BUCKET}/sheet.png\n" in done.stdout
    refused = command(*show, env=bucket)
    assert refused.returncode == 2
    assert f"--output gs://{BUCKET}/sheet.png: exists; add --overwrite" in refused.stderr


@pytest.mark.parametrize("place", ["sample/nothing", "sample/images/nothing*"])
def test_an_empty_place_in_a_bucket_is_refused(command, bucket, tmp_path, place):
    done = command("pipelines.prepare", "--input", f"gs://{BUCKET}/{place}", "--output", tmp_path / "out", env=bucket)
    assert done.returncode == 2
    assert errors(done.stderr) == 1
    assert f"--input gs://{BUCKET}/{place}: " in done.stderr
    assert "no image" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_bucket_is_refused(command, bucket, tmp_path):
    done = command("pipelines.prepare", "--input", "gs://no-such-bucket/x", "--output", tmp_path / "out", env=bucket)
    assert done.returncode == 2
    assert errors(done.stderr) == 1
    assert "--input gs://no-such-bucket/x: there is no bucket no-such-bucket; " in done.stderr


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "Requested entity was not found: project lesions-9."),
        (403, "Dataflow API has not been used in project lesions-9 before or it is disabled."),
    ],
)
def test_a_project_in_which_no_job_is_taken(command, bucket, status, message):
    before = {blob.name for blob in open_bucket(bucket, BUCKET).list_blobs()}
    with local_dataflow() as dataflow:
        dataflow.refusal = status, message
        done = command(
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
