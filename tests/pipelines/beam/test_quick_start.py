"""What Beam is spared: views of options, signatures, cyclic garbage."""

from __future__ import annotations

import gc

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
from apache_beam.transforms import core

from pipelines.beam.quick_start import collecting_less, job_options


def test_a_view_is_made_once_and_shows_later_changes() -> None:
    options = job_options(["--runner", "FnApiRunner", "--direct_num_workers", "3"])
    standard = options.view_as(StandardOptions)
    assert options.view_as(StandardOptions) is standard
    assert (standard.runner, options.view_as(DirectOptions).direct_num_workers) == ("FnApiRunner", 3)
    options.view_as(DirectOptions).view_as(StandardOptions).runner = "Other"
    assert standard.runner == "Other"
    standard.runner = "FnApiRunner"
    assert options.get_all_options()["runner"] == "FnApiRunner"


class _Doubling(beam.DoFn):
    def process(self, element: int, factor: int = 2) -> list[int]:
        return [element * factor]


class _Tripling(_Doubling):
    def process(self, element: int, factor: int = 3) -> list[int]:
        return [element * factor]


def test_methods_of_different_classes_keep_their_own_signatures() -> None:
    for _ in range(2):
        assert core.get_function_args_defaults(_Doubling().process) == (["element", "factor"], [2])
        assert core.get_function_args_defaults(_Tripling().process) == (["element", "factor"], [3])
    names, _ = core.get_function_args_defaults(_Doubling().process)
    names.clear()
    assert core.get_function_args_defaults(_Doubling().process)[0] == ["element", "factor"]


def test_the_collector_is_as_before_after_a_job_that_fails() -> None:
    before = gc.get_threshold()
    try:
        with collecting_less():
            assert gc.get_threshold() > before
            raise KeyError
    except KeyError:
        pass
    assert gc.get_threshold() == before
