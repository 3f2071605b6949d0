"""s3:// as an input, through Beam's filesystem and a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.beam.runner import beam_options
from pipelines.common.cli import UsageError
from pipelines.sources import list_images
from pipelines.sources.list_files import list_files
from pipelines.sources.read_ahead import read_files
from pipelines.storage import filesystem
from tests.support.collecting import run_source
from tests.support.inputs import require_images
from tests.support.s3 import CREDENTIALS, local_s3

pytest.importorskip("boto3", reason="the extra s3 is not installed")


ROOT = "s3://lesions"
FILES = {
    "in/a.jpg": b"first",
    "in/deep/b 1.png": b"second",
    "in/LICENSE": b"free",
    "list.txt": b"in/a.jpg\nin/none.jpg\n",
}


@pytest.fixture(scope="module", autouse=True)
def bucket() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with local_s3("lesions") as endpoint:
            beam_options(["--s3_endpoint_url", endpoint])
            for name, content in FILES.items():
                filesystem.write_bytes(f"{ROOT}/{name}", content)
            # Pipelines have options of their own.
            patch.setenv("AWS_ENDPOINT_URL", endpoint)
            yield


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("in", {"a.jpg": b"first", "deep/b 1.png": b"second"}),
        ("in/*.jpg", {"a.jpg": b"first"}),
        ("in/a.jpg", {"a.jpg": b"first"}),
    ],
)
def test_images_on_s3_are_listed_and_read(place: str, found: dict[str, bytes]) -> None:
    require_images("--input", f"{ROOT}/{place}")
    chunks = run_source(list_images.ListImages([f"{ROOT}/{place}"]))
    files = [listed.file for chunk in chunks for listed in list_images.images_of(chunk)]
    assert {file.relative: content for file, content in read_files(files)} == found
    assert all(file.size == len(found[file.relative]) and file.version.startswith("updated:") for file in files)


def test_a_file_on_s3_has_one_version_however_it_is_found() -> None:
    roots = (f"{ROOT}/in", f"{ROOT}/in/*.jpg", f"{ROOT}/in/a.jpg", f"{ROOT}/list.txt")
    found = [file for root in roots for file in list_files(root) if file.path == f"{ROOT}/in/a.jpg"]
    assert len(found) == len(roots)
    assert len({(file.size, file.version) for file in found}) == 1


def test_what_is_missing_on_s3_has_no_size_and_no_version() -> None:
    (missing,) = (file for file in list_files(f"{ROOT}/list.txt") if file.path.endswith("none.jpg"))
    assert (missing.size, missing.version) == (0, "")
    with pytest.raises(UsageError, match="holds no image"):
        require_images("--input", f"{ROOT}/nothing")
