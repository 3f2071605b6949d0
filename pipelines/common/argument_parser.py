"""Parse command lines: help that shows first what most need, options from a file, misspelt options by name."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import urllib.parse
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from pipelines.common import config_file, console
from pipelines.common.cli import EXIT_CODES, UsageError, called_as
from pipelines.common.misspelt import nearest, unknown_options

_FILE_URL = re.compile(r"(^|=)file://(?:localhost)?(?=/)")


def without_file_scheme(text: str) -> str:
    """Return the local path that a `file:///path` address stands for, also after `OPTION=` or `LAYOUT=`.

    Any other text is returned unchanged. `%20` and the like are decoded, as in any address.
    """
    found = _FILE_URL.search(text)
    return text[: found.start()] + found.group(1) + urllib.parse.unquote(text[found.end() :]) if found else text


def model_folder(text: str) -> str:
    """Return the folder of a model, which may also be named by the file that makes it a SavedModel."""
    folder, _, name = text.rpartition("/")
    return (folder or ".") if name == "saved_model.pb" else text


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """A help formatter that shows non-empty defaults and keeps the line breaks of descriptions."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ("", []):
            return action.help
        return super()._get_help_string(action)


class _HelpAll(argparse.Action):
    """Prints the help of all options."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print the help and exit."""
        assert isinstance(parser, ArgumentParser)
        parser.show_all()
        parser.print_help()
        parser.exit()


def _is_needed(action: argparse.Action) -> bool:
    return action.required or not action.option_strings


def _needed(action: argparse.Action) -> str:
    return " ".join([*action.option_strings[:1], str(action.metavar or action.dest)])


def _first_part(text: str) -> str:
    """Return the first sentence of a help text, or what stands before its first semicolon."""
    return re.split("[.;] ", text, maxsplit=1)[0]


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of exiting, and takes options from `--config FILE` too.

    Its help ends with EXIT_CODES.

    Args:
        *args: Those of argparse.
        first: Names of the options that `--help` shows; `--help_all` shows the others too. Empty: all.
        **kwargs: Those of argparse.
    """

    def __init__(self, *args: Any, first: Collection[str] = (), **kwargs: Any):
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        codes = "\n".join(f"  {code:<4d} {meaning}" for code, meaning in EXIT_CODES.items())
        kwargs["epilog"] = "\n\n".join(filter(None, (kwargs.get("epilog", "").rstrip(), f"exit codes:\n{codes}")))
        super().__init__(*args, **kwargs)
        self.prog = called_as(self.prog)
        self._first = frozenset(first)
        self._given: Sequence[str] = ()
        if first:
            self.add_argument("--help_all", action=_HelpAll, help="show every option and all that is to be said of it")
        self.add_argument(
            config_file.OPTION,
            default=argparse.SUPPRESS,
            metavar="FILE",
            help="YAML or JSON file with these options by name; those of the command line come before it",
        )

        self.add_argument(
            "--log_format",
            choices=console.FORMATS,
            default=argparse.SUPPRESS,
            help=f"of what goes to stderr; json: an object a line (default: {console.TEXT})",
        )

    def show_all(self) -> None:
        """Have the help show every option."""
        self._first = frozenset()

    def options(self) -> frozenset[str]:
        """Return every spelling of every option."""
        return frozenset(self._option_string_actions)

    def format_help(self) -> str:
        """Return the help: in short, of the options that come first, or of all."""
        if not self._first:
            return super().format_help()
        whole = [(action, action.help) for action in self._actions]
        usage, description = self.usage, self.description
        self.usage = f"%(prog)s {' '.join(map(_needed, filter(_is_needed, self._actions)))} [OPTION ...]"
        self.description = (description or "").partition("\n\n")[0]
        for action, text in whole:
            action.help = argparse.SUPPRESS if self._is_later(action) else _first_part(text or "")
        try:
            return super().format_help()
        finally:
            self.usage, self.description = usage, description
            for action, text in whole:
                action.help = text

    def _is_later(self, action: argparse.Action) -> bool:
        return not (_is_needed(action) or action.default == argparse.SUPPRESS or action.dest in self._first)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse arguments, and return those that no option takes too.

        `file://` addresses are the local paths that they stand for. Options of `--config FILE` come first.

        Raises:
            UsageError: A mistake on the command line or in the file.
        """
        return self._parse(args, namespace, others_pass=True)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse arguments as `parse_known_args` does.

        Raises:
            UsageError: A mistake on the command line or in the file, among them an argument that no option takes.
        """
        namespace, rest = self._parse(args, namespace, others_pass=False)
        if rest:
            unknown = [argument.partition("=")[0] for argument in rest if argument.startswith("-")]
            self.error(unknown_options(unknown, self.options()) if unknown else f"{rest[0]!r} is one argument too many")
        return namespace

    def _parse(self, args: Sequence[str] | None, namespace: Any, others_pass: bool) -> Any:
        try:
            path, given = config_file.split_config(sys.argv[1:] if args is None else args)
        except config_file.ConfigError as error:
            raise UsageError(f"{config_file.OPTION}: {error}") from None
        self._given = list(map(without_file_scheme, given))
        # Already now, so that a mistake among the others is said in the form that was asked for.
        if "--log_format=json" in self._given or ("--log_format", console.JSON) in itertools.pairwise(self._given):
            console.speak(console.JSON)
        added: list[str] = []
        if path is not None:
            try:
                read = config_file.read_options(path)
                added = config_file.as_arguments(read, self._actions, self._given, others_pass)
            except config_file.ConfigError as error:
                raise UsageError(f"{config_file.OPTION} {path}: {error}") from None
            added = list(map(without_file_scheme, added))
        try:
            found, rest = super().parse_known_args([*added, *self._given], namespace)
        except UsageError as error:
            if any(f" {argument.partition('=')[0]}:" in str(error) for argument in added):
                raise UsageError(f"{config_file.OPTION} {path}: {error}") from None
            raise
        if hasattr(found, "log_format"):
            console.speak(found.log_format)
            del found.log_format
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Report a mistake on the command line.

        Raises:
            UsageError: Always.
        """
        if message.startswith("the following arguments are required"):
            # One of them may be there, misspelt.
            options = self.options()
            names = [argument.partition("=")[0] for argument in self._given if argument.startswith("--")]
            meant = [name for name in names if name not in options and nearest(name, options)]
            message += f"; {unknown_options(meant, options)}" if meant else ""
        raise UsageError(f"{message} (see {self.prog} --help)")
