"""Write a training run to a bucket: to a local directory first, uploaded as the run goes on.

Whenever the machine is lost, the bucket holds either a run that the same command continues elsewhere, or a finished
run. As on a disk, run.json comes first. The files of a checkpoint are uploaded before the state file that names them.
Files that a state file names never change; older ones are deleted once the state file no longer names them. The last
file of the model to be uploaded is saved_model.pb, which marks the run as finished. Imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pipelines.common.claimed_folder import without_claim
from pipelines.common.cli import UsageError
from pipelines.common.gcs_folder import GcsFolder
from pipelines.common.owned_folder import owned_folder
from trainer.config.options import TrainOptions
from trainer.data.dataset_info import DatasetInfo
from trainer.distribution.preemption import RestartError
from trainer.task.run_directory import OURS, RUN, RunPlan, plan_output

# TensorFlow's own names.
_CHECKPOINTS = "checkpoints/"
_STATE = "checkpoints/checkpoint"
_MODEL = "model/saved_model.pb"


class GcsRunDirectory:
    """Output of one run in a bucket, with a local directory from which it is uploaded.

    A context manager: on exit it waits for the upload that is under way and deletes the local directory. Methods raise
    UsageError and UnreachableError as those of GcsFolder do, also for an upload that an earlier call started.
    """

    def __init__(self, place: str):
        self._folder = GcsFolder(place, "--output")
        self._temporary = contextlib.ExitStack()
        self._local = self._temporary.enter_context(owned_folder("train"))
        # A single thread: each upload is complete before the next one begins.
        self._sender = ThreadPoolExecutor(1)
        self._sending: Future[None] | None = None

    def __enter__(self) -> GcsRunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the upload that is under way and delete the local directory."""
        self._sender.shutdown()
        self._temporary.close()
        if kind is RestartError:
            # RestartError says that the run was saved, which is only true if the upload succeeded.
            self._wait()

    def plan(self, options: TrainOptions, info: DatasetInfo) -> RunPlan:
        """Return what the run may do with this output, as `run_directory.check_output` does; change nothing."""
        found = without_claim(self._folder.list())
        names = {name.partition("/")[0] for name in found}
        if "model" in names and _MODEL not in found:
            # The model is incomplete; a local directory would have it under its temporary name.
            names = names - {"model"} | {".model.tmp"}
        run = self._folder.read(RUN) if RUN in found else None
        plan = plan_output(options, info, self._local, names, run)
        self._folder.require_writable()
        return plan

    def open(self, plan: RunPlan) -> None:
        """Prepare the bucket as `run_directory.open_output` does a directory; fetch the checkpoint to go on from."""
        if plan.delete_first:
            ours = {name for name in self._folder.names() if name.partition("/")[0] in OURS}
            # The file that marks the model as complete goes first, and the one that marks the folder as ours last.
            for names in ({_MODEL} & ours, ours - {_MODEL, RUN}, {RUN} & ours):
                self._folder.delete(names)
        if plan.earlier is None:
            self._folder.upload({RUN: self._local / RUN})
        elif _STATE in self._folder.names():
            self._fetch_checkpoints()

    def save(self) -> None:
        """Upload the newest checkpoint, history and logs in the background, after waiting for the previous upload."""
        self._wait()
        # Copy now what may change during the upload. A checkpoint does not change, and is not deleted until the second
        # one after it is written. That happens after the next call, which waits for this upload.
        state = (self._local / _STATE).read_bytes()
        names = self._files()
        files: dict[str, Path | bytes] = {
            name: (self._local / name).read_bytes() for name in names if not name.startswith(_CHECKPOINTS)
        }
        files |= {name: self._local / name for name in names if _is_checkpoint(name, _newest(state))}
        self._sending = self._sender.submit(self._send_checkpoint, {**files, _STATE: state}, _named(state))

    def finish(self) -> None:
        """Upload everything except checkpoints, the model last, and wait until it has arrived."""
        self._wait()
        files: dict[str, Path | bytes] = {
            name: self._local / name for name in self._files() if not name.startswith(_CHECKPOINTS)
        }
        self._folder.upload(files, last=[_MODEL])

    def _fetch_checkpoints(self) -> None:
        names = _named(self._folder.read(_STATE))
        wanted = [name for name in self._folder.names() if _is_checkpoint(name, names)]
        try:
            self._folder.download([*wanted, _STATE], self._local)
        except OSError as error:
            raise UsageError(
                f"--output {self._folder.place}: cannot keep a copy of its checkpoints in {self._local} "
                f"({error.strerror or error}); let TMPDIR name a folder with more room"
            ) from None

    def _send_checkpoint(self, files: dict[str, Path | bytes], kept: set[str]) -> None:
        self._folder.upload(files, last=[_STATE])
        there = [name for name in self._folder.names() if name.startswith(_CHECKPOINTS) and name != _STATE]
        self._folder.delete(name for name in there if not _is_checkpoint(name, kept))

    def _files(self) -> list[str]:
        return [path.relative_to(self._local).as_posix() for path in self._local.rglob("*") if path.is_file()]

    def _wait(self) -> None:
        if self._sending:
            self._sending.result()


def _newest(state: bytes) -> set[str]:
    """Return the name of the checkpoint to continue from, at most one.

    Args:
        state: TensorFlow's state file (a CheckpointState, as text).
    """
    return set(re.findall(r'^model_checkpoint_path: "([^"]+)"$', state.decode(), re.MULTILINE))


def _named(state: bytes) -> set[str]:
    """Return the names of all checkpoints that the state file keeps."""
    return _newest(state) | set(re.findall(r'^all_model_checkpoint_paths: "([^"]+)"$', state.decode(), re.MULTILINE))


def _is_checkpoint(name: str, checkpoints: set[str]) -> bool:
    """Return whether a file belongs to one of these checkpoints: `checkpoints/ckpt-9.index` belongs to `ckpt-9`."""
    return name.startswith(_CHECKPOINTS) and name.removeprefix(_CHECKPOINTS).partition(".")[0] in checkpoints
