"""An evaluation whose places are in a bucket: what it reads is copied to this machine, what it writes is sent there."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.cli import UsageError
from pipelines.gcs_client import google_message, read_object
from pipelines.gcs_transfer import GcsFolder, UnreachableError, is_gs
from trainer.evaluation_options import OURS, SUMMARY, Inputs, Options, read_inputs, require_free
from trainer.staging import RemoteDataset


@dataclasses.dataclass(frozen=True)
class Places:
    """Where an evaluation reads and writes on this machine.

    options: as the user gave them, but for places in buckets, which are copies. inputs: what they name.
    """

    options: Options
    inputs: Inputs
    _output: GcsFolder | None

    def send(self) -> None:
        """Put what was written in its place, the summary last."""
        if self._output:
            self._output.delete({SUMMARY} & self._output.names())
            self._output.upload({name: Path(self.options.output) / name for name in OURS}, last=[SUMMARY])


@contextlib.contextmanager
def on_this_machine(options: Options) -> Iterator[Places]:
    """Check everything, then copy what lies in buckets; the copies go at the end, but for those of a dataset.

    UsageError in the user's words, also out of the body.
    """
    with tempfile.TemporaryDirectory(prefix="lesions-evaluate-") as temporary:
        copies: dict[str, str] = {}
        try:
            yield _prepare(options, Path(temporary), copies)
        except UnreachableError as error:
            raise UsageError(str(error)) from None
        except UsageError as error:
            message = str(error)
            for copy, place in copies.items():
                message = message.replace(copy, place)
            raise UsageError(message) from None


def _prepare(options: Options, temporary: Path, copies: dict[str, str]) -> Places:
    def copy_of(name: str) -> str:
        copy = str(temporary / name)
        copies[copy] = getattr(options, name)
        return copy

    local = options
    output = None
    if is_gs(options.output):
        output = GcsFolder(options.output, "--output")
        require_free(output.list(), options)
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
    dataset = RemoteDataset(options.dataset) if options.dataset and is_gs(options.dataset) else None
    inputs = read_inputs(local, dataset.info if dataset else None)
    if dataset:
        dataset.copy([options.split if options.fold is None else "train"], graphs=False)
    return Places(local, inputs, output)


def _copy_folder(option: str, place: str, copy: Path, needed: str = "") -> None:
    """Copy a folder, unless it lacks what is `needed`: another folder, perhaps an archive, is not copied in vain."""
    folder = GcsFolder(place, option)
    copy.mkdir()
    names = folder.list()
    if not needed or needed in names:
        folder.download(names, copy)


def _copy_table(option: str, place: str, copy: Path) -> None:
    """Copy a file, or of predictions the Parquet files of a folder."""
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
