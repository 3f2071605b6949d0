"""Command lines: what a mistake is called, what help shows, and options from a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.argument_parser import ArgumentParser, model_folder
from pipelines.common.cli import UsageError


def parser_of_a_command(**settings: Any) -> ArgumentParser:
    parser = ArgumentParser("prog", **settings)
    parser.add_argument("--input", action="append", required=True, metavar="PATH", help="images. Of any kind")
    parser.add_argument("--output", required=True)
    parser.add_argument("--seed", type=int, default=7, help="a seed; a number")
    parser.add_argument("--name", default="", help="a name")
    parser.add_argument("--shares", help="three numbers")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True)
    return parser


def said_by(parser: ArgumentParser, option: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([option])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--seed", "x"], r"^argument --seed: invalid int value: 'x' \(see prog --help\)$"),
        (["--see", "1"], r"^unknown option --see \(nearest --seed\) \(see prog --help\)$"),
        (
            ["--imput=a", "--output=o", "--seeed=1", "--colour"],
            r"required: --input; unknown options --imput \(nearest --i",
        ),
        (
            ["--input=a", "--output=o", "--seeed=1", "--colour", "red", "--nam", "x"],
            r"^unknown options --seeed \(nearest --seed\), --colour, --nam \(nearest --name\) \(see",
        ),
        (["--input=a", "--output=o", "b"], r"^'b' is one argument too many \(see"),
    ],
)
def test_mistakes_are_named_all_at_once_with_the_nearest_options(given: list[str], says: str) -> None:
    needed = [] if any(text.startswith("--imput") for text in given) else ["--input=a", "--output=o"]
    with pytest.raises(UsageError, match=says):
        parser_of_a_command().parse_args([*needed, *given])


def test_help_shows_the_defaults_that_say_something(capsys: pytest.CaptureFixture[str]) -> None:
    said = said_by(parser_of_a_command(), "--help", capsys)
    assert "a seed; a number (default: 7)" in said
    assert "a name\n" in said


def test_help_shows_first_what_most_need_and_all_of_it_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    parser = parser_of_a_command(description="Does it.\n\nAnd how.", first=("seed",))
    short, whole = said_by(parser, "--help", capsys), said_by(parser, "--help_all", capsys)
    assert short.startswith("usage: prog --input PATH --output output [OPTION ...]\n\nDoes it.\n\n")
    assert "images\n" in short
    assert "a seed (default: 7)" in short
    assert "--update" not in short
    for text in ("And how.", "images. Of any kind", "a seed; a number (default: 7)", "--update", "--no-norm"):
        assert text in whole
    assert all(text in help_text for help_text in (short, whole) for text in ("--config FILE", "--help_all", "\n  75 "))


def parsed(folder: Path, content: str, *given: str) -> argparse.Namespace:
    path = folder / "options.yaml"
    path.write_text(content)
    return parser_of_a_command().parse_args(["--config", str(path), *given])


def test_a_file_gives_options_and_the_command_line_comes_before_it(tmp_path: Path) -> None:
    content = (
        "input: [a, file:///b%20c]\noutput: o\nseed: 3\nname: 1_0\nshares: [0.8, 0.1, 0.1]\nupdate: true\nnorm: no\n"
    )
    found = parsed(tmp_path, content)
    assert vars(found) == {
        **{"input": ["a", "/b c"], "output": "o", "seed": 3, "name": "1_0"},
        **{"shares": "0.8,0.1,0.1", "update": True, "norm": False},
    }
    other = parsed(tmp_path, content, "--input=x", "--seed", "4", "--norm")
    assert (other.input, other.seed, other.norm, other.output) == (["x"], 4, True, "o")
    assert not parsed(tmp_path, "{}", "--input=x", "--output=y").update
    assert parsed(tmp_path, json.dumps({"input": "a", "output": "o", "update": False})).update is False


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not YAML, line 1: "),
        ("[1]", "holds no options; give a line `option: value` each"),
        ("", "holds no options"),
        ("seed: 1\nseed: 2", "is not YAML, line 2: 'seed' stands twice"),
        ("seed: {a: 1}", "'seed' is neither a value nor a list of values"),
        ("seeds: 1\n", r"unknown option --seeds \(nearest --seed\)"),
        ("config: x", "'config' cannot stand in such a file"),
        ("seed: x", "argument --seed: invalid int value: 'x'"),
        ("update: 1", "'update' is '1'; give true or false"),
        (b"seed: \xff", "is not UTF-8 text"),
        (None, "cannot be read .*; name a YAML or JSON file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "options.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=f"^--config {path}: .*{says}"):
        parser_of_a_command().parse_args(["--input=a", "--output=o", f"--config={path}"])


@pytest.mark.parametrize("given", [["--config"], ["--config="], ["--config=a", "--config=b"]])
def test_one_file_is_taken(given: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^--config: (name a file of options|give one file)"):
        parser_of_a_command().parse_args(given)


def test_options_for_beam_pass_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    content = "input: a\noutput: o\nrunner: FlinkRunner\nexperiments: [x, y]\nno_wait_until_finish: true\nupdate: no\n"
    path.write_text(content)
    found, rest = parser_of_a_command().parse_known_args(["--config", str(path), "--runner", "SparkRunner"])
    assert found.input == ["a"]
    assert rest == ["--experiments=x", "--experiments=y", "--no_wait_until_finish", "--runner", "SparkRunner"]
    path.write_text("use_public_ips: false")
    with pytest.raises(UsageError, match="'use_public_ips' is 'false'; leave out what is not to be on"):
        parser_of_a_command().parse_known_args(["--config", str(path), "--input=a", "--output=o"])


def test_a_model_may_be_named_by_its_file() -> None:
    found = [
        model_folder(text) for text in ("run/model", "gs://b/m/saved_model.pb", "saved_model.pb", "/saved_model.pb")
    ]
    assert found == ["run/model", "gs://b/m", ".", "."]
