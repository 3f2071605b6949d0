"""The locks pin files by hash, agree with each other and with setup.py, and name no host."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import Distribution

from deploy.release.locks import LOCKS, Pin, read_lock
from tests.support.tiny_dataset import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
ALL = sorted([*LOCKS.glob("*.lock"), *ROOT.glob("*/requirements.lock"), *ROOT.glob("deploy/*/requirements.lock")])
READ_BY_JOBS = ("excel", "hdf5", "s3")


@pytest.fixture(scope="module")
def definition() -> Distribution:
    """What setup.py says of the package, none of its commands carried out."""
    # From Python 3.12 on, setuptools brings it.
    return importlib.import_module("distutils.core").run_setup(str(ROOT / "setup.py"), stop_after="init")


def linux(python: str) -> dict[str, str]:
    return {
        **{"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"},
        **{"platform_machine": "x86_64", "implementation_name": "cpython", "platform_python_implementation": "CPython"},
    }


def needed(lock: str, python: str) -> dict[str, str]:
    pins = [pin for pin in read_lock(LOCKS / f"{lock}.lock") if pin.applies(linux(python))]
    versions = {pin.name: pin.version for pin in pins}
    # One with several extras may have a line for each.
    assert len(versions) == len({(pin.name, pin.version) for pin in pins})
    return versions


def test_there_is_a_lock_for_each_thing_that_is_installed() -> None:
    found = [path.relative_to(ROOT).as_posix() for path in ALL]
    assert found == [
        *("benchmarks/requirements.lock", "deploy/airflow/requirements.lock", "requirements/dev.lock"),
        *("requirements/gpu.lock", "requirements/pipelines.lock", "requirements/tools.lock", "requirements/train.lock"),
    ]


@pytest.mark.parametrize("lock", ALL, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_package_has_hashes_and_no_host_is_named(lock: Path) -> None:
    pins: list[Pin] = read_lock(lock)
    assert pins
    assert not [pin.name for pin in pins if not pin.hashes]
    assert not re.findall(r"://|--[a-z-]*(?:index|host|find-links)[a-z-]*", lock.read_text())


@pytest.mark.parametrize("python", PYTHONS)
def test_what_runs_is_a_part_of_what_trains_and_that_of_what_develops(python: str) -> None:
    pipelines, train, dev = (needed(name, python) for name in ("pipelines", "train", "dev"))
    assert pipelines.items() < train.items() < dev.items()
    gpu = needed("gpu", python)
    added = {name for name in gpu if name not in pipelines}
    assert added
    assert {name: version for name, version in gpu.items() if name not in added}.items() < pipelines.items()
    assert all(name.startswith("nvidia-") for name in added)


def wanted(definition: Distribution, *extras: str) -> Iterator[Requirement]:
    for text in [
        *definition.install_requires,
        *(each for extra in extras for each in definition.extras_require[extra]),
    ]:
        yield Requirement(text)


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("pipelines", READ_BY_JOBS),
        ("train", (*READ_BY_JOBS, "train")),
        ("dev", (*READ_BY_JOBS, "train", "tfds", "dev")),
    ],
)
def test_a_lock_has_what_setup_py_asks_for(definition: Distribution, lock: str, extras: tuple[str, ...]) -> None:
    pins = needed(lock, "3.11")
    asked = list(wanted(definition, *extras))
    assert not [str(each) for each in asked if pins.get(canonicalize_name(each.name), "0") not in each.specifier]
    if lock == "dev":
        assert set(extras) == set(definition.extras_require)


def test_the_pythons_that_are_named_are_those_that_are_accepted(definition: Distribution) -> None:
    accepted = SpecifierSet(str(definition.python_requires))
    assert [f"3.{minor}" for minor in range(9, 16) if f"3.{minor}" in accepted] == list(PYTHONS)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"python: \[(.*)\]", workflow) == [", ".join(f'"{python}"' for python in PYTHONS)]
    words = f"{', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}"
    for page in ("Makefile", "README.md", "CONTRIBUTING.md"):
        assert words in (ROOT / page).read_text(), page


def test_training_asks_for_nothing_that_only_tests_need(definition: Distribution) -> None:
    names = {canonicalize_name(each.name) for each in wanted(definition, *READ_BY_JOBS, "train")}
    assert not names & {"isic-challenge-scoring", "pandas", "pytest"}
    assert "isic-challenge-scoring" not in needed("train", "3.11")
