"""List the licence of each package that runs: `python -m deploy.release.licences FILE`.

The packages are those of requirements/train.lock, the licences what their installed metadata declare: an SPDX
expression, else the classifiers, else the words of the old field. What declares none is `unknown`.
"""

from __future__ import annotations

import csv
import email
import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from email.message import Message

from deploy.release.locks import LOCKS, pinned_here

LICENCES = LOCKS / "licences.csv"
HEADER = ("package", "licence")
# Longer is the licence's own text.
_A_NAME = 80


def declared(metadata: Message) -> str:
    """Return the licence that a package's metadata declare, in one line."""
    expression = metadata.get("License-Expression", "").strip()
    if expression:
        return expression
    classifiers = [
        value.split(" :: ") for value in metadata.get_all("Classifier", []) if value.startswith("License ::")
    ]
    # `License :: OSI Approved` alone says nothing.
    names = sorted({parts[-1] for parts in classifiers if parts[1:] != ["OSI Approved"]})
    if names:
        return "; ".join(names)
    words = " ".join(metadata.get("License", "").split())
    return words if words and len(words) <= _A_NAME else "unknown"


def metadata_of(distribution: importlib.metadata.Distribution) -> Message:
    """Return what an installed package says of itself."""
    return email.message_from_string(distribution.read_text("METADATA") or "")


def installed_licences() -> Iterator[tuple[str, str]]:
    """Yield (package, licence) of what runs, by name.

    Raises:
        SystemExit: A package is not installed in the version of the lock.
    """
    for name, version in sorted(pinned_here(LOCKS / "train.lock").items()):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"{name} is not installed; run make venv")
        if distribution.version != version:
            sys.exit(f"{name} {distribution.version} is installed, and the lock has {version}; run make venv")
        yield name, declared(metadata_of(distribution))


def main(arguments: Sequence[str]) -> None:
    """Write the list as CSV."""
    (place,) = arguments
    listed = list(installed_licences())
    with open(place, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *listed])


if __name__ == "__main__":
    main(sys.argv[1:])
