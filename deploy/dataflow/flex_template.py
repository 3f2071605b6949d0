"""The jobs as Flex Templates of Dataflow: their metadata, made from the commands' own options, and how they start.

`python -m deploy.dataflow.flex_template score` prints the metadata; deploy/dataflow keeps it. A parameter of a
template has one value: a flag is `true` or `false`, and what an option may be given several times is separated by `;`.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command
from pipelines.prepare import options as prepare_options
from pipelines.score import options as score_options

SEPARATOR = ";"
JOBS = {"prepare": prepare_options.build_parser, "score": score_options.build_parser}
TITLES = {"prepare": "ISIC images to TFRecords", "score": "Score an ISIC archive"}
# Ends of the metavars of options that name files or folders.
_PLACES = ("PATH", "DIR", "CSV", "DATASET")
_PLACE = r"(gs|s3)://[^;]+"
_LAYOUT = r"([a-z0-9_]+=)?"
_NUMBERS = {int: r"-?[0-9]+", float: r"[0-9]*\.?[0-9]+"}
# The only Beam option in the template: without it, workers lack this project's code. The other Beam options are fields
# of a launch request.
_IMAGE = {
    "name": "sdk_container_image",
    "label": "Workers' image",
    "helpText": "the image of deploy/container that the workers run, by its digest or tag",
    "isOptional": False,
    "regexes": ["^[a-z0-9.-]+/.+[:@].+$"],
    "paramType": "TEXT",
}


def _options(job: str) -> dict[str, argparse.Action]:
    """Return the command's options by name, in the order of --help."""
    actions = JOBS[job]()._actions
    return {action.dest: action for action in actions if action.default is not argparse.SUPPRESS}


def _is_flag(action: argparse.Action) -> bool:
    return action.nargs == 0


def _is_list(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)


def _pattern(action: argparse.Action) -> str:
    """Return the regular expression that a value must match; empty where only the command can tell."""
    if _is_flag(action):
        return "true|false"
    if action.choices:
        return "|".join(map(str, action.choices))
    if str(action.metavar).endswith(_PLACES):
        place = f"{_LAYOUT}{_PLACE}" if "LAYOUT" in str(action.metavar) else _PLACE
        return f"{place}({SEPARATOR}{place})*" if _is_list(action) else place
    return _NUMBERS.get(action.type, "")  # type: ignore[call-overload]


def _kind(action: argparse.Action) -> str:
    if _is_flag(action):
        return "BOOLEAN"
    if action.choices:
        return "ENUM"
    if action.type in _NUMBERS:
        return "NUMBER"
    return "GCS_WRITE_FOLDER" if action.dest == "output" else "TEXT"


def _parameter(action: argparse.Action) -> dict[str, Any]:
    pattern = _pattern(action)
    several = f"; several are separated by {SEPARATOR!r}" if _is_list(action) else ""
    described: dict[str, Any] = {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": f"{action.help}{several}",
        "isOptional": not action.required,
        "paramType": _kind(action),
    }
    if pattern:
        described["regexes"] = [f"^({pattern})$"]
    if action.choices:
        described["enumOptions"] = [{"value": str(choice), "label": str(choice)} for choice in action.choices]
    if action.default not in (None, False, "", []):
        described["defaultValue"] = str(action.default)
    return described


def metadata(job: str) -> dict[str, Any]:
    """Return the metadata of a job's template, as `gcloud dataflow flex-template build --metadata-file` expects it."""
    return {
        "name": TITLES[job],
        "description": " ".join((JOBS[job]().description or "").split()),
        "streaming": False,
        "parameters": [*map(_parameter, _options(job).values()), _IMAGE],
    }


def command_arguments(job: str, parameters: Sequence[str]) -> list[str]:
    """Return the command's arguments for the parameters that a launcher passes.

    Empty values, which a form sends for fields left empty, are left out. Beam's options pass unchanged.

    Args:
        job: One of JOBS.
        parameters: Arguments of the form --name=value.

    Raises:
        UsageError: If a flag is neither true nor false.
    """
    options = _options(job)
    arguments = []
    for parameter in parameters:
        name, _, value = parameter.removeprefix("--").partition("=")
        action = options.get(name)
        if action is None:
            arguments.append(parameter)
        elif _is_flag(action):
            if value not in ("true", "false", ""):
                raise UsageError(f"--{name} {value}: true or false is needed")
            arguments += [f"--{name}"] if value == "true" else []
        else:
            values = value.split(SEPARATOR) if _is_list(action) else [value]
            arguments += [f"--{name}={each}" for each in values if each]
    return arguments


def launch(job: str, parameters: Sequence[str]) -> NoReturn:
    """Run the command as a template's launcher does: it must not wait for the job.

    The process exits as the command does.
    """
    command = importlib.import_module(f"pipelines.{job}.command")

    def main(argv: Sequence[str] | None) -> int | None:
        return command.main([*command_arguments(job, argv or ()), "--no_wait_until_finish"])

    run_command(f"pipelines.{job}", main, parameters)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the metadata of a job's template."""
    parser = ArgumentParser("python -m deploy.dataflow.flex_template", description=__doc__)
    parser.add_argument("job", choices=sorted(JOBS))
    arguments = parser.parse_args(argv)
    print(json.dumps(metadata(arguments.job), indent=2))


if __name__ == "__main__":
    run_command("deploy.dataflow.flex_template", main)
