"""Archives and names made to do harm: good images are scored once, every other file is named, nothing else happens."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.text import printable
from tests.e2e.test_score import summary
from tests.support.commands import Command
from tests.support.image_files import encode, photograph
from tests.support.scoring import export_untrained, rejects, scores

CLIMBING = ("../../../climbed.jpg", "/tmp/climbed.jpg", "C:\\climbed.jpg", "a/../../climbed.jpg", "./climbed.jpg")
ODD_NAMES = [
    *("a b.jpg", " leading.jpg", "trailing .jpg", "two  spaces.jpg", "tab\t.jpg", "line\nbreak.jpg", "return\r.jpg"),
    *("bell\a.jpg", "escape\x1b[31mred.jpg", "delete\x7f.jpg", "quote'.jpg", 'double".jpg', "back\\slash.jpg"),
    *("semi;colon.jpg", "comma,.jpg", "pipe|.jpg", "amper&sand.jpg", "dollar$HOME.jpg", "`date`.jpg", "$(date).jpg"),
    *("percent%2F.jpg", "hash#.jpg", "question?.jpg", "star*.jpg", "[bracket].jpg", "{brace}.jpg", "~tilde.jpg"),
    *("=1+1.jpg", "+1.jpg", "-rf.jpg", "@sum.jpg", "<script>alert(1)<\u2215script>.jpg", "<!--.jpg", "]]>.jpg"),
    *(
        "naïve.jpg",
        "nai\u0308ve.jpg",
        "皮膚.jpg",
        "😀.jpg",
        "\u202egpj.exe.jpg",
        "\u200bzero.jpg",
        "nul.jpg",
        "a..jpg",
    ),
    *("l" * 251 + ".jpg", "PIXELS.JPG"),
    os.fsdecode(b"\xff\xfe.jpg"),
]


def image(seed: int) -> bytes:
    return encode(photograph(40, 30, seed))


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, options.get("compression", zipfile.ZIP_STORED))
    return target.getvalue()


def tarred(*members: tuple[str, bytes | tuple[bytes, str]]) -> bytes:
    """Files, and members of other types, which are given by type and target."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return target.getvalue()


def directory_entry(data: bytes, name: bytes) -> int:
    """Where a zip's directory speaks of a member."""
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + len(name)] != name:
        at = data.index(b"PK\x01\x02", at + 4)
    return at


def changed(data: bytes, name: bytes, field: int, form: str, value: int) -> bytes:
    """A zip whose directory says something else of a member."""
    changed = bytearray(data)
    struct.pack_into(form, changed, directory_entry(data, name) + field, value)
    return bytes(changed)


def hostile_archives() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Archives by name: their bytes, and what must become of each listed file: "scored", or a reason.

    An archive that cannot be listed is rejected as a whole, under the name "".
    """
    good = zipped({"good.jpg": image(1), "evil.jpg": image(2)})
    bomb = bytes(30 << 20)
    inner = zipped({"inside.jpg": image(3)})
    overlapping = changed(good, b"evil.jpg", 42, "<I", 0)
    return {
        "climbing.zip": (
            zipped({name: image(10 + n) for n, name in enumerate(CLIMBING)}),
            {name.replace("\\", "/"): "scored" for name in CLIMBING},
        ),
        "climbing.tar": (
            tarred(*((name, image(20 + n)) for n, name in enumerate(CLIMBING))),
            dict.fromkeys(CLIMBING, "scored"),
        ),
        "links.tar": (
            tarred(
                ("good.jpg", image(30)),
                ("shadow.jpg", (tarfile.SYMTYPE, "/etc/shadow")),
                ("hard.jpg", (tarfile.LNKTYPE, "/etc/passwd")),
                ("device.jpg", (tarfile.CHRTYPE, "")),
                ("block.jpg", (tarfile.BLKTYPE, "")),
                ("pipe.jpg", (tarfile.FIFOTYPE, "")),
            ),
            {"good.jpg": "scored"},
        ),
        "bomb.zip": (
            zipped({"bomb.jpg": bomb, "good.jpg": image(31)}, compression=zipfile.ZIP_DEFLATED),
            {"bomb.jpg": "not_an_image", "good.jpg": "scored"},
        ),
        "nested.zip": (zipped({"inner.zip": inner, "good.jpg": image(32)}), {"good.jpg": "scored"}),
        "overlapping.zip": (overlapping, {"good.jpg": "scored", "evil.jpg": "unreadable"}),
        "beyond.zip": (
            changed(good, b"evil.jpg", 42, "<I", 1 << 30),
            {"good.jpg": "scored", "evil.jpg": "unreadable"},
        ),
        # It is not, whatever the directory says.
        "encrypted.zip": (changed(good, b"evil.jpg", 8, "<H", 1), {"good.jpg": "scored", "evil.jpg": "scored"}),
        "method.zip": (changed(good, b"evil.jpg", 10, "<H", 98), {"good.jpg": "scored", "evil.jpg": "unreadable"}),
        "sum.zip": (changed(good, b"evil.jpg", 16, "<I", 0), {"good.jpg": "scored", "evil.jpg": "unreadable"}),
        "size.zip": (
            changed(good, b"evil.jpg", 24, "<I", (1 << 32) - 2),
            {"good.jpg": "scored", "evil.jpg": "too_large"},
        ),
        "many.zip": (zipped({f"{n}.jpg": b"" for n in range(300)}), {f"{n}.jpg": "empty_file" for n in range(300)}),
        "truncated.zip": (good[:-30], {"": "unreadable"}),
        "page.zip": (b"<html>not found</html>", {"": "unreadable"}),
        "truncated.tar": (tarred(("good.jpg", image(33)))[:700], {"": "unreadable"}),
    }


@pytest.fixture(scope="module")
def hostile(
    command: Command, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str], Path, str]:
    """Gives the input, what must become of each file by its path, the run, and what it said."""
    folder = tmp_path_factory.mktemp("hostile")
    images, model = folder / "deep" / "er" / "in", export_untrained(dataset, folder / "model", 1)
    images.mkdir(parents=True)
    expected = {}
    for number, name in enumerate(ODD_NAMES):
        (images / name).write_bytes(image(100 + number))
        expected[printable(str(images / name))] = "scored"
    for name, (data, members) in hostile_archives().items():
        (images / name).write_bytes(data)
        for member, outcome in members.items():
            expected[f"{images / name}!/{member}" if member else str(images / name)] = outcome
    done = command(
        *("pipelines.score", "--input", images, "--model", model, "--output", folder / "out", "--run", "one"),
        *("--max_reject_fraction", 1, "--report"),
    )
    assert done.returncode == 0, done.stderr
    return images, expected, folder / "out" / "run=one", done.stdout + done.stderr


def test_every_good_image_is_scored_once_and_every_other_file_is_named(
    hostile: tuple[Path, dict[str, str], Path, str],
) -> None:
    _, expected, run, _ = hostile
    found = Counter((row["path"], "scored") for row in scores(run))
    found += Counter((row["path"], row["reason"]) for row in rejects(run))
    wanted = Counter(expected.items())
    assert (found - wanted, wanted - found) == (Counter(), Counter())
    counts = summary(run)["counts"]
    assert counts["listed"] == counts["scored"] + counts["rejected"] + counts["ignored"]


def test_nothing_is_written_outside_the_output_or_obeyed_by_a_terminal(
    hostile: tuple[Path, dict[str, str], Path, str],
) -> None:
    images, _, run, said = hostile
    root = images.parents[2]
    assert {path.name for path in root.iterdir()} == {"deep", "model", "out"}
    assert [path.name for path in root.rglob("*climbed*")] == []
    assert not Path("/tmp/climbed.jpg").exists()
    assert {path.name for path in images.iterdir()} == {*ODD_NAMES, *hostile_archives()}
    assert [path.name for path in run.parent.iterdir()] == ["run=one"]
    assert "\x1b[31m" not in said
