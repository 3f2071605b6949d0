"""gs:// as an input: prepare and verify read a bucket on loopback."""

from __future__ import annotations

import hashlib
import json

import pytest
from gcs import local_gcs, upload

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


def digests(dataset):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dataset.glob("*.tfrecord")}


def test_prepare_from_a_bucket_gives_the_bytes_of_the_folder(command, bucket, sample, tmp_path):
    ends = []
    for root, environment, name in ((f"gs://{BUCKET}/sample", bucket, "bucket"), (sample, None, "local")):
        ends.append(
            command(
                *("pipelines.prepare", "--input", f"{root}/images", "--metadata", f"{root}/metadata.csv"),
                *("--output", tmp_path / name, "--image_size", SIZE),
                env=environment,
            )
        )
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    assert digests(tmp_path / "bucket") == digests(tmp_path / "local")
    counts = [json.loads((tmp_path / name / "dataset.json").read_text())["counts"] for name in ("bucket", "local")]
    assert counts[0] == counts[1]
    upload(bucket, BUCKET, tmp_path / "local", "dataset")
    checked = command("pipelines.verify", f"gs://{BUCKET}/dataset", "--workers", 2, env=bucket)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[-1] == "ok"
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
