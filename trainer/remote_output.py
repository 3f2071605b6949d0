"""A training run whose --output is in a bucket: written to a directory of this machine, sent on as it grows.

Whatever the moment at which the machine is lost, the bucket holds a run that the same command takes up elsewhere, or a
finished one. As on a disk, run.json comes first. A checkpoint's files are sent before the state file that names them,
and what a state file names is never changed; older ones are deleted once it no longer names them. Of the model,
saved_model.pb comes last, and with it the run is finished. Imports no TensorFlow.
"""

from __future__ import annotations

import re
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pipelines.cli import UsageError
from pipelines.gcs_transfer import GcsFolder
from trainer.dataset_info import DatasetInfo
from trainer.options import Options
from trainer.outputs import OURS, RUN, Claim, claim_output
from trainer.preemption import RestartError

# TensorFlow's own names.
_CHECKPOINTS = "checkpoints/"
_STATE = "checkpoints/checkpoint"
_MODEL = "model/saved_model.pb"


class RemoteOutput:
    """The output of one run. A context manager: the local directory ends with it, and so does what is being sent.

    Methods raise UsageError and UnreachableError as those of GcsFolder do, also for what an earlier call sent.
    """

    def __init__(self, place: str):
        self._folder = GcsFolder(place, "--output")
        self._temporary = tempfile.TemporaryDirectory(prefix="lesions-train-")
        self._local = Path(self._temporary.name)
        # One: what is sent is complete before the next is begun.
        self._sender = ThreadPoolExecutor(1)
        self._sending: Future[None] | None = None

    def __enter__(self) -> RemoteOutput:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._sender.shutdown()
        self._temporary.cleanup()
        if kind is RestartError:
            # It says that the run was saved, which is true only of what has arrived.
            self._wait()

    def claim(self, options: Options, info: DatasetInfo) -> Claim:
        """What the run may do with this output, as `outputs.check_output`. Changes nothing in the bucket."""
        found = self._folder.list()
        names = {name.partition("/")[0] for name in found}
        if "model" in names and _MODEL not in found:
            # What a directory has under this name while it is written.
            names = names - {"model"} | {".model.tmp"}
        run = self._folder.read(RUN) if RUN in found else None
        claim = claim_output(options, info, self._local, names, run)
        self._folder.require_writable()
        return claim

    def open(self, claim: Claim) -> None:
        """Do in the bucket what `outputs.open_output` did here; fetch the checkpoint that the run goes on from."""
        if claim.delete_first:
            ours = {name for name in self._folder.names() if name.partition("/")[0] in OURS}
            # First the model is no longer whole; the folder is known as ours as long as anything is left.
            for names in ({_MODEL} & ours, ours - {_MODEL, RUN}, {RUN} & ours):
                self._folder.delete(names)
        if claim.earlier is None:
            self._folder.upload({RUN: self._local / RUN})
        elif _STATE in self._folder.names():
            self._fetch_checkpoints()

    def save(self) -> None:
        """Send the newest checkpoint, history and logs, while training goes on. Waits for what is sent already."""
        self._wait()
        # What may change while it is sent is copied now. A checkpoint does not, and stays until the second one after it
        # is written, which is after the next call; those before it have been sent.
        state = (self._local / _STATE).read_bytes()
        names = self._files()
        files: dict[str, Path | bytes] = {
            name: (self._local / name).read_bytes() for name in names if not name.startswith(_CHECKPOINTS)
        }
        files |= {name: self._local / name for name in names if _is_checkpoint(name, _newest(state))}
        self._sending = self._sender.submit(self._send_checkpoint, {**files, _STATE: state}, _named(state))

    def finish(self) -> None:
        """Send all that has not been sent, the model last; returns when it is there."""
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
    """Name of the checkpoint that a run goes on from, by TensorFlow's state file (a CheckpointState, as text)."""
    return set(re.findall(r'^model_checkpoint_path: "([^"]+)"$', state.decode(), re.MULTILINE))


def _named(state: bytes) -> set[str]:
    """Names of all checkpoints that are kept, by the state file."""
    return _newest(state) | set(re.findall(r'^all_model_checkpoint_paths: "([^"]+)"$', state.decode(), re.MULTILINE))


def _is_checkpoint(name: str, checkpoints: set[str]) -> bool:
    """Whether a file is one of these checkpoints': `checkpoints/ckpt-9.index` belongs to `ckpt-9`."""
    return name.startswith(_CHECKPOINTS) and name.removeprefix(_CHECKPOINTS).partition(".")[0] in checkpoints
