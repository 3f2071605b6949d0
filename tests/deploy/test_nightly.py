"""The nightly DAG, read without Airflow; `make test-airflow` imports, renders and runs it."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from pipelines.beam.runner import beam_options
from pipelines.common import cli
from pipelines.score.options import parse_options
from tests.support.tiny_dataset import ROOT

DAG = ROOT / "deploy" / "airflow" / "score_nightly.py"


@pytest.fixture(scope="module")
def tree() -> ast.Module:
    return ast.parse(DAG.read_text(), str(DAG))


def constants(tree: ast.Module) -> dict[str, Any]:
    return {
        ast.unparse(node.targets[0]): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


def call_of(tree: ast.Module, name: str) -> dict[str | None, Any]:
    (found,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name)
    return {keyword.arg: keyword.value for keyword in found.keywords}


def test_it_minds_the_exit_codes_of_the_command(tree: ast.Module) -> None:
    known = constants(tree)
    assert known["TOO_MANY_REJECTS"] == cli.EXIT_LIMIT
    assert known["WRONG_USE"] == cli.EXIT_USAGE


def test_nights_do_not_overlap(tree: ast.Module) -> None:
    dag = call_of(tree, "DAG")
    assert ast.literal_eval(dag["max_active_runs"]) == 1
    assert ast.literal_eval(dag["catchup"]) is False


def test_the_command_takes_every_option_of_the_dag(tree: ast.Module) -> None:
    given = call_of(tree, "ScoreOperator")["pipeline_options"]
    names = [ast.literal_eval(key) for key in given.keys]
    assert {"input", "model", "output", "previous", "run"} <= set(names)
    values = {"report": [], "run": ["2026-03-01.02"]}
    argv = [text for name in names for text in (f"--{name}", *values.get(name, ["gs://bucket/x"]))]
    options, rest = parse_options(argv)
    assert options.run == "2026-03-01.02"
    beam = beam_options([*rest, "--runner", constants(tree)["RUNNER"]]).get_all_options()
    assert beam["job_name"] == beam["project"] == "gs://bucket/x"
