"""One of several programs creates, replaces or removes a file, on each kind of store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.storage import exclusive_file, filesystem
from tests.support.gcs import local_gcs
from tests.support.gcs_faults import LoseAnswer, Plan, Rule
from tests.support.s3 import CREDENTIALS, local_s3

MANY = 8


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Folders by kind of store. The answer to each first upload to gs:// is lost."""
    pytest.importorskip("boto3", reason="the extra s3 is not installed")
    from pipelines.beam.runner import beam_options

    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch, local_gcs(folder, "lesions") as environment:
        for name, value in {**environment, **CREDENTIALS}.items():
            patch.setenv(name, value)
        environment.faults = Plan(Rule("lost", "^POST /upload/", [LoseAnswer(), None, None, LoseAnswer()]))
        with local_s3("lesions") as s3:
            beam_options(["--s3_endpoint_url", s3])
            yield {"local": str(folder / "deep"), "gs": "gs://lesions/deep", "s3": "s3://lesions/deep"}


def content(path: str) -> bytes | None:
    found = exclusive_file.read(path)
    return found and found.content


@pytest.mark.parametrize("store", ["local", "gs", "s3"])
def test_a_change_succeeds_only_over_what_it_names(stores: dict[str, str], store: str) -> None:
    path = f"{stores[store]}/changed/claim.json"
    assert content(path) is None
    assert not exclusive_file.replace(path, b"a", b"b")
    assert not exclusive_file.renew(path, b"a")
    assert not exclusive_file.remove(path, b"a")
    assert exclusive_file.create(path, b"a")
    assert not exclusive_file.create(path, b"b")
    assert content(path) == b"a"
    assert not exclusive_file.replace(path, b"b", b"c")
    assert exclusive_file.replace(path, b"a", b"b")
    assert content(path) == b"b"
    assert not exclusive_file.remove(path, b"a")
    assert not exclusive_file.renew(path, b"a")
    assert exclusive_file.renew(path, b"b")
    assert content(path) == b"b"
    assert exclusive_file.remove(path, b"b")
    assert content(path) is None
    assert list(filesystem.list_tree(f"{stores[store]}/changed")) == []


@pytest.mark.parametrize("store", ["local", "gs"])
def test_of_many_at_once_one_succeeds(stores: dict[str, str], store: str) -> None:
    path = f"{stores[store]}/contended/claim.json"
    start = threading.Barrier(MANY)

    def winners(change: Callable[[bytes], bool]) -> list[bytes]:
        def attempt(number: int) -> bool:
            start.wait()
            return change(str(number).encode())

        with ThreadPoolExecutor(MANY) as pool:
            return [str(number).encode() for number, won in enumerate(pool.map(attempt, range(MANY))) if won]

    (first,) = winners(lambda own: exclusive_file.create(path, own))
    assert content(path) == first
    (second,) = winners(lambda own: exclusive_file.replace(path, first, b"next" + own))
    assert content(path) == b"next" + second
