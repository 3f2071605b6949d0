"""Read options of a command from a file: YAML, or JSON, which is YAML too."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pipelines.common.misspelt import unknown_options

OPTION = "--config"
_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")


class ConfigError(Exception):
    """A file of options that cannot be used; the message is the end of a sentence about the file."""


def split_config(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the file that `--config FILE` names, None without it, and the other arguments.

    Raises:
        ConfigError: The option stands twice, or names no file.
    """
    files, others = [], []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == OPTION:
            files.append(next(waiting, ""))
        elif argument.startswith(f"{OPTION}="):
            files.append(argument.partition("=")[2])
        else:
            others.append(argument)
    if len(files) > 1:
        raise ConfigError("give one file")
    if files == [""]:
        raise ConfigError("name a file of options, YAML or JSON")
    return (files[0] if files else None), others


def read_options(path: str) -> dict[str, Any]:
    """Return option -> value as a file gives them; every value is text, or a list of texts.

    Args:
        path: A local file.

    Raises:
        ConfigError: The file cannot be read, or is not of that form.
    """
    # Imported late: most command lines name no such file.
    import yaml

    from pipelines.common.yaml_loaders import TextOnceLoader, where_wrong

    try:
        with open(path, encoding="utf-8-sig") as file:
            values = yaml.load(file, TextOnceLoader)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror}); name a YAML or JSON file") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text; name a YAML or JSON file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML{where_wrong(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError("holds no options; give a line `option: value` each")
    for name, value in values.items():
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{name!r} is neither a value nor a list of values")
    return values


def as_arguments(
    values: dict[str, Any], actions: Sequence[argparse.Action], given: Sequence[str], others_pass: bool
) -> list[str]:
    """Return the options of a file as arguments, without those that the command line gives.

    Args:
        values: What `read_options` returns.
        actions: The options of the command.
        given: The arguments of the command line.
        others_pass: Whether the command passes on options that it does not know.

    Raises:
        ConfigError: An option is unknown, or a switch is neither on nor off.
    """
    named = {argument.partition("=")[0] for argument in given}
    known = {name: action for action in actions for name in action.option_strings}
    arguments: list[str] = []
    for name, value in values.items():
        option = f"--{name.removeprefix('--')}"
        if option == OPTION:
            raise ConfigError(f"{name!r} cannot stand in such a file")
        action = known.get(option)
        if action is None and not others_pass:
            raise ConfigError(unknown_options([option], known))
        if named.isdisjoint(action.option_strings if action else [option]):
            arguments += _arguments(option, value, action)
    return arguments


def _arguments(option: str, value: str | list[str], action: argparse.Action | None) -> list[str]:
    if isinstance(value, list):
        if action is not None and not isinstance(action, argparse._AppendAction):
            return [f"{option}={','.join(value)}"]
        return [f"{option}={each}" for each in value]
    is_switch = value.lower() in _YES + _NO if action is None else action.nargs == 0
    if not is_switch:
        return [f"{option}={value}"]
    if value.lower() in _YES:
        return [option]
    if value.lower() not in _NO:
        raise ConfigError(f"{option.removeprefix('--')!r} is {value!r}; give true or false")
    if isinstance(action, argparse.BooleanOptionalAction):
        return [f"--no-{option.removeprefix('--')}"]
    if action is None:
        raise ConfigError(f"{option.removeprefix('--')!r} is {value!r}; leave out what is not to be on")
    return []
