"""From the page of an audit to the dataset: findings are marked in a browser, and the saved table is applied."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tests.support.browser import Visit
from tests.support.commands import Command, besides_progress


def _picture(seed: int, side: int = 64, darkest: int = 0, mode: str = "RGB") -> bytes:
    coarse = np.random.default_rng(seed).integers(darkest, 256, (6, 6, 3), np.uint8)
    data = io.BytesIO()
    picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert(mode)
    picture.save(data, "JPEG", quality=90)
    return data.getvalue()


def _archive(root: Path) -> Path:
    """Two images that lie in both classes, and two smaller copies under other names, one with a comma.

    Two pictures under one id, a grey photograph in a folder that is named like one of masks, and a white one.
    """
    files = {f"{'melanoma' if n < 6 else 'nevus'}/ISIC_00000{n:02d}.jpg": _picture(n) for n in range(12)}
    files |= {f"nevus/ISIC_00000{n:02d} (2).jpg": _picture(n) for n in (0, 1)}
    files |= {'melanoma/small, "two".jpg': _picture(2, 48), "melanoma/small three.jpg": _picture(3, 48)}
    files |= {"melanoma/ISIC_0000020.jpg": _picture(20), "nevus/ISIC_0000020.jpg": _picture(21)}
    files |= {"nevus/seg/mole.jpg": _picture(22, mode="L"), "nevus/ISIC_0000030.jpg": _picture(30, darkest=250)}
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_what_is_clicked_in_the_page_is_what_the_dataset_has(command: Command, tmp_path: Path) -> None:
    root = _archive(tmp_path / "set")
    inputs = ("--input", root, "--classes", "melanoma,nevus")
    audited = command("pipelines.audit", *inputs, "--output", tmp_path / "audit")
    assert audited.returncode == 0, audited.stderr
    small, other = (str(root / "melanoma" / name) for name in ('small, "two".jpg', "small three.jpg"))
    with Visit(tmp_path / "audit/report.html", tmp_path) as visit:
        # By keyboard: the first image in conflict becomes the second class; of the next one, nothing is kept.
        visit.press("n", "r", "n", "Enter")
        visit.press("n", "d")
        # Of two pictures under one id, the first; and what is taken for a mask is a photograph.
        visit.press("n", "k", "n", "n", "k")
        visit.click(f".mark[data-image={json.dumps(small)}] [data-action=drop]")
        visit.click(f".mark[data-image={json.dumps(other)}] [data-action=keep]")
        visit.click("#quality .mark[data-image=ISIC_0000030] [data-action=drop]")
        assert visit.run("document.querySelector('.marking output').textContent") == "7 images marked"
        visit.click(".marking button")
        table = visit.downloaded("corrections.csv")
    assert table.read_text().splitlines() == [
        "image,action,label,finding",
        "ISIC_0000000,relabel,nevus,conflicts",
        "ISIC_0000001,drop,,conflicts",
        f"{root}/melanoma/ISIC_0000020.jpg,keep,,id_conflicts",
        f"{root}/nevus/seg/mole.jpg,keep,,masks",
        f'"{small.replace(chr(34), chr(34) * 2)}",drop,,near_duplicates',
        f"{other},keep,,near_duplicates",
        "ISIC_0000030,drop,,quality",
    ]
    given = (*inputs, "--corrections", table)
    made = command("pipelines.prepare", *given, "--output", tmp_path / "out", "--image_size", "32", "--balance", "none")
    assert made.returncode == 0, made.stderr
    assert f"corrected by {table}: keep 3, drop 3, relabel 1" in made.stdout
    rows = pq.read_table(tmp_path / "out/manifest-00000-of-00001.parquet").to_pylist()
    assert {
        Path(row["path"]).name: (row["outcome"], row["reason"], row["label"], row["old_label"])
        for row in rows
        if row["correction"]
    } == {
        "ISIC_0000000.jpg": ("written", "corrected", "nevus", "melanoma; nevus"),
        "ISIC_0000000 (2).jpg": ("duplicate", "duplicate", "nevus", "melanoma; nevus"),
        "ISIC_0000001.jpg": ("rejected", "corrected", None, "melanoma; nevus"),
        "ISIC_0000001 (2).jpg": ("rejected", "corrected", None, "melanoma; nevus"),
        Path(small).name: ("rejected", "corrected", None, "melanoma"),
        Path(other).name: ("written", "corrected", "melanoma", None),
        "ISIC_0000020.jpg": ("written", "corrected", "melanoma", None),
        "mole.jpg": ("written", "corrected", "nevus", None),
        "ISIC_0000030.jpg": ("rejected", "corrected", None, "nevus"),
    }
    (outranked,) = (row for row in rows if row["path"] == str(root / "nevus/ISIC_0000020.jpg"))
    assert (outranked["outcome"], outranked["reason"], outranked["correction"]) == ("rejected", "corrected", None)
    checked = command("pipelines.verify", tmp_path / "out")
    assert checked.returncode == 0, checked.stderr
    # The next audit knows them, and its page saves them again.
    again = command("pipelines.audit", *given, "--output", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    with Visit(tmp_path / "again/report.html", tmp_path / "again") as visit:
        visit.press("s")
        assert sorted(visit.downloaded("corrections.csv").read_text().splitlines()) == sorted(
            table.read_text().splitlines()
        )
    # A name that no file has is refused before anything is written.
    table.write_text(table.read_text() + "ISIC_0000777,drop,,\n")
    for job in ("pipelines.audit", "pipelines.prepare"):
        refused = command(job, *given, "--output", tmp_path / "none")
        assert (refused.returncode, len(besides_progress(refused.stderr))) == (2, 1)
        assert f"--corrections {table}: no listed image is ISIC_0000777" in refused.stderr
        assert not (tmp_path / "none").exists()
