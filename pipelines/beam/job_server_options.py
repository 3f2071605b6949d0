"""Options that only the job servers of Flink and Spark know; Beam sends them on to the server."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

# From Beam's FlinkPipelineOptions and SparkPipelineOptions, without those that Beam's Python declares too.
_FLINK = frozenset(
    f"--{name}"
    for name in (
        *("allow_non_restored_state", "attached_mode", "auto_balance_write_files_sharding_enabled"),
        *("auto_watermark_interval", "checkpoint_timeout_millis", "checkpointing_interval", "checkpointing_mode"),
        *("disable_metrics", "enable_stable_input_drain", "execution_mode_for_batch", "execution_retry_delay"),
        *("externalized_checkpoints_enabled", "fail_on_checkpointing_errors", "faster_copy"),
        *("finish_bundle_before_checkpointing", "flink_conf_dir", "force_slot_sharing_group"),
        *("force_unaligned_checkpoint_enabled", "job_check_interval_in_secs", "latency_tracking_interval"),
        *("max_bundle_size", "max_bundle_time_mills", "min_pause_between_checkpoints", "num_concurrent_checkpoints"),
        *("number_of_execution_retries", "object_reuse", "operator_chaining", "re_iterable_group_by_key_result"),
        *("report_checkpoint_duration", "retain_externalized_checkpoints_on_cancellation", "savepoint_path"),
        *("shutdown_sources_after_idle_ms", "state_backend", "state_backend_factory", "state_backend_storage_path"),
        *("unaligned_checkpoint_enabled", "use_data_stream_for_batch"),
    )
)
_SPARK = frozenset(
    f"--{name}"
    for name in (
        *("bundle_size", "cache_disabled", "checkpoint_dir", "enable_spark_metric_sinks"),
        *("prefer_group_by_key_to_handle_huge_values", "spark_master", "storage_level"),
    )
)
_PORTABLE = frozenset({"--environment_expiration_millis", "--load_balance_bundles"})
_OF_RUNNER = {
    "PortableRunner": _FLINK | _SPARK | _PORTABLE,
    "FlinkRunner": _FLINK | _PORTABLE,
    "SparkRunner": _SPARK | _PORTABLE,
}
JOB_SERVER_OPTIONS = _OF_RUNNER["PortableRunner"]


def runner_named(arguments: Sequence[str]) -> str:
    """Return the runner that a command line names, without its module; empty if it names none."""
    found = ""
    for argument, following in itertools.pairwise([*arguments, ""]):
        option, equals, value = argument.partition("=")
        if option == "--runner":
            found = value if equals else following
    return found.rpartition(".")[2]


def taken_by(runner: str) -> frozenset[str]:
    """Return the options that a runner hands on to its job server; none if it has no such server."""
    return _OF_RUNNER.get(runner, frozenset())
