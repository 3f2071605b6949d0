"""Evaluations with places in a bucket: copy the inputs to this machine and upload the results."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.common.claimed_folder import without_claim
from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import google_message, is_gs, read_object
from pipelines.common.gcs_folder import GcsFolder, UnreachableError
from pipelines.common.owned_folder import owned_folder
from trainer.data.gcs_dataset_cache import GcsDataset
from trainer.evaluate.options import (
    OURS,
    SUMMARY,
    EvaluateOptions,
    EvaluationInputs,
    read_evaluation_inputs,
    require_free,
    require_output,
)


@dataclasses.dataclass(frozen=True)
class LocalWorkspace:
    """Where an evaluation has its inputs and results on this machine."""

    options: EvaluateOptions  # as the user gave them, but with local copies in place of bucket paths
    inputs: EvaluationInputs  # what `options` name
    _output: GcsFolder | None  # where to upload the results; None if the output is local

    def require_output(self) -> None:
        """Look at `--output` again, once it is claimed: another run may have written there until now.

        Raises:
            UsageError: It holds files that must be kept.
        """
        if self._output:
            require_free(without_claim(self._output.list()), self.options)
        else:
            require_output(self.options)

    def upload(self) -> None:
        """Upload the results to the bucket, the summary last; do nothing if the output is local."""
        if self._output:
            self._output.delete({SUMMARY} & self._output.names())
            self._output.upload({name: Path(self.options.output) / name for name in OURS}, last=[SUMMARY])


@contextlib.contextmanager
def local_workspace(options: EvaluateOptions) -> Iterator[LocalWorkspace]:
    """Check all options and copy the inputs that lie in buckets to this machine.

    The copies are deleted at the end, except those of a dataset.

    Yields:
        The workspace.

    Raises:
        UsageError: A check or a copy fails, or the body of the `with` block raises it. Messages name places as the user
            gave them, not the local copies.
    """
    with owned_folder("evaluate") as temporary:
        copies: dict[str, str] = {}
        try:
            yield _prepare(options, temporary, copies)
        except UnreachableError as error:
            raise UsageError(str(error)) from None
        except UsageError as error:
            message = str(error)
            for copy, place in copies.items():
                message = message.replace(copy, place)
            raise UsageError(message) from None


def _prepare(options: EvaluateOptions, temporary: Path, copies: dict[str, str]) -> LocalWorkspace:
    """Copy the inputs that lie in buckets, then read and check all inputs.

    Args:
        options: As the user gave them.
        temporary: The folder for copies.
        copies: Filled by this function: local copy -> place as the user named it.
    """

    def copy_of(name: str) -> str:
        copy = str(temporary / name)
        copies[copy] = getattr(options, name)
        return copy

    local = options
    output = None
    if is_gs(options.output):
        output = GcsFolder(options.output, "--output")
        require_free(without_claim(output.list()), options)
        output.require_writable()
        local = dataclasses.replace(local, output=copy_of("output"))
    if options.model and is_gs(options.model):
        local = dataclasses.replace(local, model=copy_of("model"))
        _copy_folder("--model", options.model, Path(local.model or ""), "saved_model.pb")
    for name in ("predictions", "labels"):
        place = getattr(options, name)
        if place and is_gs(place):
            changed: dict[str, Any] = {name: copy_of(name)}
            local = dataclasses.replace(local, **changed)
            _copy_table(f"--{name}", place, Path(getattr(local, name)))
    metadata = []
    for index, place in enumerate(options.metadata):
        copy = temporary / f"metadata-{index}"
        if is_gs(place):
            copies[str(copy)] = place
            _copy_table("--metadata", place, copy)
        metadata.append(str(copy) if is_gs(place) else place)
    local = dataclasses.replace(local, metadata=tuple(metadata))
    dataset = GcsDataset(options.dataset) if options.dataset and is_gs(options.dataset) else None
    inputs = read_evaluation_inputs(local, dataset.info if dataset else None)
    if dataset:
        dataset.copy([options.split if options.fold is None else "train"], graphs=False)
    return LocalWorkspace(local, inputs, output)


def _copy_folder(option: str, place: str, copy: Path, needed: str = "") -> None:
    """Copy a folder, unless it lacks the file `needed`.

    A folder without it is the wrong one, perhaps a whole archive, and would be copied for nothing.
    """
    folder = GcsFolder(place, option)
    copy.mkdir()
    names = folder.list()
    if not needed or needed in names:
        folder.download(names, copy)


def _copy_table(option: str, place: str, copy: Path) -> None:
    """Copy a file, or the Parquet and JSON files of a folder of predictions."""
    if option == "--predictions" and not place.endswith(".parquet"):
        folder = GcsFolder(place, option)
        tables = [name for name in folder.list() if name.endswith((".parquet", ".json"))]
        copy.mkdir()
        folder.download(tables, copy)
        return
    try:
        copy.write_bytes(read_object(place))
    except FileNotFoundError:
        raise UsageError(f"{option} {place}: there is no such object; name a file of the bucket") from None
    except OSError as error:
        raise UsageError(f"{option} {place}: cannot be read ({google_message(error)})") from None
