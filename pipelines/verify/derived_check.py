"""Check what prepare makes of a dataset besides its records: past images, metadata for TFDS, and the card."""

from __future__ import annotations

from pipelines.common.cli import CheckFailed
from pipelines.dataset.file_names import CARD_PAGE, CARD_TEXT
from pipelines.dataset.finished import Dataset
from pipelines.dataset.reader import past_rows
from pipelines.dataset.tfds_metadata import metadata_files
from pipelines.domain.dataset_json import DATASET_JSON, SPLITS
from pipelines.verify.cross_check import CrossCheck


def check_past(dataset: Dataset, ledger: CrossCheck) -> None:
    """Check that past images have a split, and that none of them is written.

    Args:
        dataset: The dataset; one that was made at once has no past images.
        ledger: Knows all rows of the manifest.

    Raises:
        CheckFailed: A file is damaged or missing, or an image is wrong.
    """
    for where, row in past_rows(dataset):
        if row["split"] not in SPLITS:
            raise CheckFailed(f"{where}: its split is {row['split'] or 'none'}")
        if ledger.is_written(row["sha256"] or ""):
            raise CheckFailed(f"{where}: is written too")


def check_tfds(dataset: Dataset) -> None:
    """Check that the metadata for TFDS are those of dataset.json.

    Raises:
        CheckFailed: A file is missing or another.
    """
    for name, text in metadata_files(dataset.description.document).items():
        if dataset.read(name) != text.encode():
            raise CheckFailed(f"{name}: is not what {DATASET_JSON} gives")


def check_cards(dataset: Dataset) -> None:
    """Check that the card is this dataset's: it names the fingerprint.

    Raises:
        CheckFailed: A file is missing or another dataset's.
    """
    for name in (CARD_PAGE, CARD_TEXT):
        if dataset.description.fingerprint.encode() not in dataset.read(name):
            raise CheckFailed(f"{name}: is not the card of this dataset, whose fingerprint it does not name")
