"""Training and evaluation on gs://, as commands, against the local bucket: any machine goes on where another was lost."""

import json
import os
import signal
import subprocess
import sys
import urllib.parse

import pytest
from gcs import local_gcs, open_bucket, upload
from gcs_proxy import door, once
from test_training import final_state
from tiny_dataset import ROOT, command, write_dataset

BUCKET = "lesions"
DATASET, RUN = f"gs://{BUCKET}/dataset", f"gs://{BUCKET}/runs/one"


class Store:
    """The bucket behind its door, and the environment of machines that use it."""

    def __init__(self, folder, environment, opened):
        self.door, self.bucket = opened, open_bucket(environment, BUCKET)
        self._folder, self._environment = folder, {**environment, "STORAGE_EMULATOR_HOST": opened.url}

    def machine(self, name):
        """The environment of a machine; one that has not been used before has nothing of earlier runs."""
        home = self._folder / name
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        return {**os.environ, **self._environment, "TMPDIR": str(home / "tmp"), "XDG_CACHE_HOME": str(home / "cache")}

    def left(self, name):
        """What programs left in a machine's folder of temporary files."""
        return list((self._folder / name / "tmp").iterdir())

    def names(self, prefix="runs/"):
        return {blob.name.removeprefix(prefix) for blob in self.bucket.client.list_blobs(self.bucket, prefix=prefix)}

    def json(self, name):
        return json.loads(self.bucket.blob(name).download_as_bytes())

    def fetch(self, prefix, target):
        for blob in self.bucket.client.list_blobs(self.bucket, prefix=prefix):
            path = target / blob.name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(str(path))
        return target


@pytest.fixture(scope="module")
def store(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gcs")
    with local_gcs(folder, BUCKET) as environment, door(environment["STORAGE_EMULATOR_HOST"]) as opened:
        upload(environment, BUCKET, dataset, "dataset")
        yield Store(folder, environment, opened)


def run(arguments, environment):
    return subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)


def evaluate(*options):
    return [sys.executable, "-m", "trainer.evaluate", "--bootstrap=20", *options]


def kill_after(store, arguments, machine, fragment, count):
    """Run a command on a machine and kill it when the bucket has done so many requests with this in their lines."""
    process = subprocess.Popen(arguments, cwd=ROOT, env=store.machine(machine), stderr=subprocess.PIPE, text=True)
    seen = []

    def passed(method, path):
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
