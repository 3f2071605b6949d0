"""Seven published sets, each as it comes, in one run of prepare."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.support.commands import Command
from tests.support.workbook_files import xlsx

MILK = ("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC")
EACH = 6


def photo(number: int) -> bytes:
    small = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC).save(file, "PNG" if number % 2 else "JPEG")
    return file.getvalue()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def table(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def isic2017(root: Path) -> str:
    for number in range(EACH):
        write(root / "data" / f"ISIC_{number:07d}.jpg", photo(number))
    rows = [(f"ISIC_{number:07d}", float(number % 2), 0.0) for number in range(EACH)]
    table(root / "truth.csv", "image_id,melanoma,seborrheic_keratosis", rows)
    return str(root)


def isic2024(root: Path) -> str:
    root.mkdir(parents=True)
    with h5py.File(root / "train-image.hdf5", "w") as file:
        for number in range(EACH):
            file[f"ISIC_{100 + number:07d}"] = np.void(photo(100 + number))
    names = ("Nevus", "Melanoma, NOS")
    rows = [(f"ISIC_{100 + number:07d}", number % 2, f"IP_{number:07d}", names[number % 2]) for number in range(EACH)]
    table(root / "train-metadata.csv", "isic_id,target,patient_id,iddx_full", rows)
    return f"isic2024={root / 'train-image.hdf5'}"


def milk10k(root: Path) -> str:
    truth, images = [], []
    for lesion in range(EACH // 2):
        truth.append((f"IL_{lesion:07d}", *(float(name == ("NV", "MEL")[lesion % 2]) for name in MILK)))
        for kind in range(2):
            number = 200 + 2 * lesion + kind
            write(root / "input" / f"IL_{lesion:07d}" / f"ISIC_{number:07d}.jpg", photo(number))
            images.append((f"IL_{lesion:07d}", "dermoscopic", f"ISIC_{number:07d}", 3))
    table(root / "GroundTruth.csv", f"lesion_id,{','.join(MILK)}", truth)
    table(root / "Metadata.csv", "lesion_id,image_type,isic_id,skin_tone_class", images)
    return str(root)


def pad_ufes(root: Path) -> str:
    root.mkdir(parents=True)
    rows = [(f"PAT_{number}", 7, ("NEV", "MEL")[number % 2], f"PAT_{number}_7_{number}.png") for number in range(EACH)]
    for part in range(2):  # a folder of zips
        (root / "images").mkdir(exist_ok=True)
        with zipfile.ZipFile(root / "images" / f"imgs_part_{part}.zip", "w") as archive:
            for number, row in enumerate(rows):
                if number % 2 == part:
                    archive.writestr(f"imgs_part_{part}/{row[-1]}", photo(300 + number))
    table(root / "metadata.csv", "patient_id,lesion_id,diagnostic,img_id", rows)
    return f"pad_ufes={root / 'images'}"


def derm7pt(root: Path) -> str:
    rows = []
    for case in range(EACH // 2):
        names = [f"NEL/NEL{case}{kind}.jpg" for kind in range(2)]
        for kind, name in enumerate(names):
            write(root / "images" / name, photo(400 + 2 * case + kind))
        rows.append((case, ("clark nevus", "melanoma (in situ)")[case % 2], *names))
    table(root / "meta" / "meta.csv", "case_num,diagnosis,clinic,derm", rows)
    return f"derm7pt={root / 'images'}"


def ph2(root: Path) -> str:
    """As it is published: a folder a case with masks beside the photograph, the truth as a text and as a workbook."""
    header: list[str | None] = [
        "Image Name",
        "Histological Diagnosis",
        "Common Nevus",
        "Atypical Nevus",
        "Melanoma",
        "Asymmetry",
    ]
    sheet: list[list[str | None]] = [["PH2 Dataset"], [], ["Legends", "0 - Common Nevus"], header]
    lines = ["||   Name  ||   Histological Diagnosis   ||  Clinical Diagnosis  ||   Asymmetry   ||  Colors  ||"]
    for number in range(EACH):
        case, code = f"IMD{number:03d}", (0, 2)[number % 2]
        picture = Image.open(io.BytesIO(photo(600 + number))).convert("RGB")
        mask = picture.convert("L").point(lambda value: 255 * (value > 128)).convert("1")
        parts = {"Dermoscopic_Image/": picture, "lesion/": mask, "roi/": mask}
        names = {"Dermoscopic_Image/": case, "lesion/": f"{case}_lesion", "roi/": f"{case}_R1_Label4"}
        for part, image in parts.items():
            path = root / "PH2 Dataset images" / case / f"{case}_{part}" / f"{names[part]}.bmp"
            path.parent.mkdir(parents=True)
            image.save(path)
        lines.append(f"|| {case} ||                     ||          {code}           ||       0       ||   4      ||")
        sheet.append([case, None, *("X" if place == code else None for place in range(3)), "0"])
    write(root / "PH2_dataset.txt", "\n".join([*lines, "", "Legends:"]).encode())
    write(root / "PH2_dataset.xlsx", xlsx({"PH2": sheet}))
    return str(root)


def huggingface(root: Path) -> str:
    rows = [
        {"image": {"bytes": photo(500 + number), "path": f"a{number}.jpg"}, "dx": ("nevus", "melanoma")[number % 2]}
        for number in range(EACH)
    ]
    rows.append(rows[0] | {"image": {"bytes": photo(500), "path": "copy.jpg"}})
    path = root / "data" / "train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(root)


def test_seven_published_sets_in_one_run_agree_in_their_sums(tmp_path: Path, command: Command) -> None:
    makers = (isic2017, isic2024, milk10k, pad_ufes, derm7pt, ph2, huggingface)
    inputs = [part for make in makers for part in ("--input", make(tmp_path / make.__name__))]
    output = tmp_path / "out"
    options = ("--image_size", 32, "--classes", "melanoma,nevus")
    done = command("pipelines.prepare", *inputs, "--output", output, *options)
    assert done.returncode == 0, done.stderr
    tables = [pq.read_table(path) for path in sorted(output.glob("manifest-*.parquet"))]
    rows = pa.concat_tables(tables).to_pylist()
    assert Counter(row["outcome"] for row in rows) == {
        "written": 7 * EACH,
        "duplicate": 1,
        "rejected": 2 * EACH,
    }
    assert {row["reason"] for row in rows if row["outcome"] == "rejected"} == {"mask"}
    # Five tables lie in the folders.
    listed = (
        f"listed {9 * EACH + 6} = written {7 * EACH} + duplicates 1 + rejected {2 * EACH} + undersampled 0 + ignored 5"
    )
    assert listed in done.stdout + done.stderr
    written = [row for row in rows if row["outcome"] == "written"]
    assert Counter(row["label"] for row in written) == {"nevus": 23, "melanoma": 19}
    group = {row["id"]: row["group_id"] for row in written}
    assert group["ISIC_0000200"] == group["ISIC_0000201"] != group["ISIC_0000202"]
    assert group["NEL00"] == group["NEL01"] != group["NEL10"]
