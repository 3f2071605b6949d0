"""Spare Beam the work that it repeats for every transform: half of what a job of few images costs.

A job has some hundred transforms. For each of them Beam reads the signatures of all methods of its DoFn several times,
and parses the whole command line again for each group of options that it looks at. Importing this module mends the
former for the process, `job_options` the latter for a job.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions, TypeOptions
from apache_beam.transforms import core

Options = TypeVar("Options", bound=PipelineOptions)


class JobOptions(PipelineOptions):
    """PipelineOptions whose views are made once.

    All views share the values of the options, so a view that was made earlier shows later changes too.
    """

    def view_as(self, cls: type[Options]) -> Options:
        """Return the options that a subclass of PipelineOptions declares."""
        # Not by setattr, which Beam keeps for options.
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def job_options(arguments: list[str]) -> JobOptions:
    """Parse Beam's options.

    Types are not checked while the graph is built: tests build every graph that a job can have.
    """
    options = JobOptions(arguments)
    options.view_as(TypeOptions).pipeline_type_check = False
    return options


@contextlib.contextmanager
def collecting_less() -> Iterator[None]:
    """Look for cyclic garbage rarely while a job runs in this process.

    Rows are many small tuples that no cycle holds. Going over them again and again took a sixth of a job's time.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


_inspect_method = core.get_function_args_defaults
_inspected: dict[object, tuple[list[str], list[Any]]] = {}


def _inspect_once(method: Any) -> tuple[list[str], list[Any]]:
    """Return what Beam reads from the signature of a method, which does not change."""
    function = getattr(method, "__func__", None)
    if function is None:
        return _inspect_method(method)
    if function not in _inspected:
        _inspected[function] = _inspect_method(method)
    names, defaults = _inspected[function]
    return [*names], [*defaults]


core.get_function_args_defaults = _inspect_once  # type: ignore[assignment]
