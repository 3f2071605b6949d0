"""Beam's own options as a command line gives them, parsed by Beam itself only where a job needs them.

Beam takes two seconds to start. What can be said of a command line without it is said before.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.beam.job_server_options import JOB_SERVER_OPTIONS, runner_named, taken_by
from pipelines.common.cli import UsageError
from pipelines.storage.filesystem import is_local
from pipelines.storage.path_lists import is_path_list

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_DECLARED = re.compile(r"""["'](--\w[\w-]*)["']""")
_OPTION = re.compile(r"(--\w[\w-]*)(=.*)?", re.DOTALL)


# Least similarity of an option to the one that was probably meant, see `difflib.get_close_matches`.
_ALIKE = 0.85


def unknown_option(argument: str, known: Collection[str] = ()) -> UsageError:
    """Return the error for an argument that is neither an option of a job nor of Beam.

    Args:
        argument: The argument.
        known: Beam's options, of which the nearest is named.
    """
    option = argument.partition("=")[0]
    if option in JOB_SERVER_OPTIONS:
        return UsageError(f"{option}: for job servers of Flink or Spark alone; --runner PortableRunner has one")
    near = difflib.get_close_matches(option, sorted(known), 1, _ALIKE)
    return UsageError(
        f"unknown option {argument!r}"
        + (f" (nearest {near[0]})" if near else "")
        + "; --help lists them, and Beam's options may follow"
    )


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

    Raises:
        UsageError: An option is none of Beam's.
    """

    def __init__(self, arguments: Sequence[str], command: str):
        self._arguments = tuple(arguments)
        self._command = command
        known = _declared_names() | taken_by(runner_named(self._arguments)) if self._arguments else set()
        for place, argument in enumerate(self._arguments):
            option = _OPTION.fullmatch(argument)
            # Anything else may be the value of the option before it. Beam's own parser judges it later.
            if option[1] not in known if option else place == 0:
                raise unknown_option(argument, known)

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
