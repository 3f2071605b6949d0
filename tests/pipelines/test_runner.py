"""Beam options are parsed strictly and ways of running that lose records are refused."""

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipelines.cli import UsageError
from pipelines.runner import beam_options, local_worker_processes


def test_the_local_default_is_named():
    assert beam_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    options = beam_options(["--direct_running_mode=multi_processing", "--direct_num_workers=3"])
    assert options.view_as(DirectOptions).direct_num_workers == 3
    assert local_worker_processes(options) == 3
    assert (
        local_worker_processes(
            beam_options(["--runner=DataflowRunner", "--region=x", "--project=myproject", "--temp_location=gs://b/t"])
        )
        == 1
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runner=DaskRunner"], "Dask"),
        (["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"], "Dask"),
        (["--direct_running_mode=multi_threading"], "loses records"),
        (["--direct_num_workers=2"], "multi_processing"),
        (["--imagesize=3"], "--imagesize=3"),
        (["stray"], "stray"),
        (["--direct_num_workers=two"], "direct_num_workers"),
    ],
)
def test_refused(arguments, says):
    with pytest.raises(UsageError, match=says) as caught:
        beam_options(arguments)
    assert "\n" not in str(caught.value)
