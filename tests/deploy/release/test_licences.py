"""The list of licences: what metadata declare, and that the list is that of the lock."""

from __future__ import annotations

import csv
import importlib.metadata
from email.message import Message

import pytest

from deploy.release.licences import HEADER, LICENCES, declared, metadata_of
from deploy.release.locks import LOCKS, pinned_here, read_lock


def metadata(*fields: tuple[str, str]) -> Message:
    message = Message()
    for key, value in fields:
        message[key] = value
    return message


OSI = ("Classifier", "License :: OSI Approved")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([("License-Expression", "MIT"), ("License", "The MIT licence")], "MIT"),
        ([OSI, ("Classifier", "License :: OSI Approved :: BSD License")], "BSD License"),
        (
            [("Classifier", "License :: OSI Approved :: MIT License"), ("Classifier", "License :: Public Domain")],
            "MIT License; Public Domain",
        ),
        ([OSI, ("License", "Apache\n  2.0")], "Apache 2.0"),
        ([("License", "Permission is hereby granted, free of charge, " * 9)], "unknown"),
        ([("Classifier", "Topic :: Software Development")], "unknown"),
    ],
)
def test_a_licence_is_what_the_metadata_declare(fields: list[tuple[str, str]], said: str) -> None:
    assert declared(metadata(*fields)) == said


def test_the_list_is_that_of_what_runs() -> None:
    with open(LICENCES, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == HEADER
    listed = dict(rows)
    assert list(listed) == sorted(listed)
    # The list is made on one Python; another may need less.
    pins = pinned_here(LOCKS / "train.lock")
    assert pins.keys() <= listed.keys() <= {pin.name for pin in read_lock(LOCKS / "train.lock")}
    installed = {
        name: importlib.metadata.distribution(name) for name in pins if importlib.metadata.version(name) == pins[name]
    }
    assert {name: declared(metadata_of(found)) for name, found in installed.items()} == {
        name: listed[name] for name in installed
    }
    assert not [name for name, licence in listed.items() if "GPL" in licence or "General Public" in licence]
