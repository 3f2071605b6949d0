"""The command that makes a dataset again."""

from __future__ import annotations

import dataclasses
import subprocess

from pipelines.prepare.options import parse_options
from pipelines.prepare.regenerate import regenerating_command


def _command(*argv: str) -> str:
    return regenerating_command(parse_options(argv)[0])


def _words(command: str) -> list[str]:
    """Return the arguments as a shell reads them."""
    script = f"python() {{ printf '%s\\n' \"$@\"; }}; {command}"
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_command_leaves_out_what_changes_no_byte() -> None:
    given = [
        *("--input", "a b", "--output=/x/y", "--runner", "DirectRunner", "--seed", "2", "--overwrite"),
        *(
            "--direct_num_workers",
            "2",
            "--threads",
            "3",
            "--classes=it's,other",
            "--output",
            "z",
            "--metadata",
            "m.csv",
        ),
    ]
    assert _words(_command(*given)) == [
        *("-m", "pipelines.prepare", "--input", "a b", "--metadata", "m.csv", "--classes", "it's,other", "--seed", "2"),
        *("--output", "COPY"),
    ]


def test_the_command_leaves_out_defaults_and_keeps_flags_lists_and_hyphens() -> None:
    given = ["--input=-a", "--input", "b.zip", "--output", "o", "--folds=0", "--aspect=crop", "--group_by_patient"]
    assert _words(_command(*given, "--image_size", "64", "--seed", "-3")) == [
        *("-m", "pipelines.prepare", "--input=-a", "--input", "b.zip", "--group_by_patient", "--seed=-3"),
        *("--image_size", "64", "--output", "COPY"),
    ]


def test_the_command_takes_the_splits_of_a_dataset_that_has_grown_from_it() -> None:
    first, _ = parse_options(["--input", "a", "--output", "b", "--update"])
    assert regenerating_command(first).endswith("--input a --output COPY")
    grown = dataclasses.replace(first, splits_from="b")
    assert regenerating_command(grown).endswith("--input a --splits_from DATASET --output COPY")
    assert _command("--input", "a", "--output", "b", "--splits_from=c") == regenerating_command(grown)


def test_the_command_names_the_options_it_is_made_of_again() -> None:
    given = ["--input", "a b", "--licenses", "CC-0, CC-BY", "--folds", "2", "--target_per_class", "9", "--output", "o"]
    command = _command(*given, "--split_fractions", ".6,.2,.2", "--on_label_conflict", "trust=folder")
    assert _command(*_words(command)[2:]) == command
