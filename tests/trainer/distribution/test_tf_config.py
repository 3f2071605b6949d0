"""TF_CONFIG for schedulers: what is printed is what the trainer reads, and what is wrong is explained."""

from __future__ import annotations

import pytest

from pipelines.common.cli import UsageError
from trainer.distribution.cluster import Cluster, read_cluster
from trainer.distribution.tf_config import expand_counts, expand_nodes, kubernetes_config, main, slurm_config, tf_config

SLURM = {"SLURM_STEP_NODELIST": "gpu[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_PROCID": "2"}


def read(text: str) -> Cluster | None:
    return read_cluster({"TF_CONFIG": text})


def test_the_trainer_reads_what_is_written() -> None:
    assert read(tf_config(["a:1", "b:2"], 1)) == Cluster(("a:1", "b:2"), 1)


def test_nodes_and_counts_are_expanded_from_the_short_form() -> None:
    assert expand_nodes("a[1,3-4]b,c") == ["a1b", "a3b", "a4b", "c"]
    assert expand_counts("3,1(x2)") == [3, 1, 1]
    with pytest.raises(ValueError, match="two"):
        expand_counts("two")


def test_tasks_of_one_node_count_their_ports_up() -> None:
    assert read(slurm_config(SLURM, 5000)) == Cluster(("gpu1:5000", "gpu1:5001", "gpu2:5000", "gpu2:5001"), 2)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"SLURM_PROCID": "x"}, "cannot read Slurm's SLURM_STEP_"),
        ({"SLURM_PROCID": "4"}, "Slurm's variables disagree: 2 nodes"),
        ({"SLURM_STEP_TASKS_PER_NODE": "x"}, "cannot read Slurm's SLURM_STEP_"),
    ],
)
def test_malformed_variables_of_slurm_are_explained(changed: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        slurm_config({**SLURM, **changed})


def test_a_pod_is_named_by_its_job_and_index() -> None:
    config = kubernetes_config({"JOB_COMPLETION_INDEX": "1"}, "lesions", "workers", 2, 70)
    assert read(config) == Cluster(("lesions-0.workers:70", "lesions-1.workers:70"), 1)
    for index in ("2", "-1", "x", ""):
        with pytest.raises(UsageError, match=f"JOB_COMPLETION_INDEX '{index}' is not from 0 to 1"):
            kubernetes_config({"JOB_COMPLETION_INDEX": index}, "lesions", "workers", 2)


def test_the_command_prints_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    main(["slurm", "--port=6000"])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    cluster = read(printed)
    assert cluster is not None
    assert cluster.addresses[1] == "gpu1:6001"
    with pytest.raises(UsageError, match="--port: 0 is out of range"):
        main(["slurm", "--port=0"])
