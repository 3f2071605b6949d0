"""Beam's own options as a command line gives them, parsed by Beam itself only where a job needs them.

Beam takes two seconds to start. What can be said of a command line without it is said before.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.beam.job_server_options import JOB_SERVER_OPTIONS, runner_named, taken_by
from pipelines.common.cli import UsageError
from pipelines.common.misspelt import unknown_options
from pipelines.storage.filesystem import is_local
from pipelines.storage.path_lists import is_path_list

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_DECLARED = re.compile(r"""["'](--\w[\w-]*)["']""")
_OPTION = re.compile(r"(--\w[\w-]*)(=.*)?", re.DOTALL)


def unknown_option(arguments: Iterable[str], known: Collection[str] = ()) -> UsageError:
    """Return the error for arguments that are neither options of a job nor of Beam.

    Args:
        arguments: The arguments; at least one.
        known: All options, of which the nearest are named.
    """
    options = [argument.partition("=")[0] for argument in arguments]
    for option in options:
        if option in JOB_SERVER_OPTIONS:
            return UsageError(f"{option}: for job servers of Flink or Spark alone; --runner PortableRunner has one")
    return UsageError(f"{unknown_options(options, known)}; --help_all lists them, and Beam's options may follow")


def _declared_names() -> set[str]:
    """Return every option that the source of Beam's options mentions, without running it."""
    package = importlib.util.find_spec("apache_beam")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'apache_beam'", name="apache_beam")
    source = Path(package.origin).parent / "options" / "pipeline_options.py"
    return set(_DECLARED.findall(source.read_text("utf-8")))


class BeamArguments:
    """The arguments that a job's own parser left over.

    Args:
        arguments: Command-line arguments.
        command: Name of the job, shown by the runner.
        own: The job's own options, one of which may be misspelt among the arguments.

    Raises:
        UsageError: An option is none of Beam's.
    """

    def __init__(self, arguments: Sequence[str], command: str, own: Collection[str] = ()):
        self._arguments = tuple(arguments)
        self._command = command
        known = _declared_names() | taken_by(runner_named(self._arguments)) if self._arguments else set()
        unknown = []
        for place, argument in enumerate(self._arguments):
            option = _OPTION.fullmatch(argument)
            # Anything else may be the value of the option before it. Beam's own parser judges it later.
            if option[1] not in known if option else place == 0:
                unknown.append(argument)
        if unknown:
            raise unknown_option(unknown, known.union(own))

    @functools.cached_property
    def options(self) -> PipelineOptions:
        """What Beam reads from the arguments, see `runner.beam_options`; filesystems use it from here on.

        Raises:
            UsageError: An option is unsuitable.
        """
        # Imported late: this is where a command line without mistakes begins to need Beam.
        from pipelines.beam.runner import beam_options

        return beam_options(self._arguments, self._command)

    def options_for(self, paths: Iterable[str]) -> PipelineOptions | None:
        """Return the options before paths are looked at; None if they say nothing about them.

        They say something if any is given, and Beam's filesystems need them.

        Args:
            paths: All that the job reads or writes.

        Raises:
            UsageError: An option is unsuitable.
        """
        needed = self._arguments or any(not is_local(path) or is_path_list(path) for path in paths)
        return self.options if needed else None
