"""Help and usage errors come at once: a command imports what its work needs once its options are good."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.startup import started

# Arguments of mistakes, by command. In them IN is a folder with an image, USED one with other files, NONE is missing.
MISTAKES = {
    "pipelines.prepare": (
        *("--input IN --output NEW --imagesize 9", "--input IN --output NEW --image_size 2", "--input IN", ""),
        *("--input NONE --output NEW", "--input IN --output USED", "--input IN --output NEW --metadata NONE"),
    ),
    "pipelines.audit": (
        *("--input IN --output NEW --what", "--input IN --output NEW --folds 1", "--input NONE --output NEW"),
        *("--input IN --output USED", "--input IN --output NEW --splits_file NONE"),
    ),
    "pipelines.score": (
        *("--input IN --model NONE --output NEW --what", "--input IN --model NONE --output NEW --batch_size 0"),
        "--input IN --model NONE",
    ),
    "pipelines.verify": ("NONE", "IN", "USED --what", "USED --workers -1", "USED --output NEW"),
    "pipelines.show": ("NONE --output NEW.png", "IN --output NEW.png", "IN --output NEW.txt", "IN", "IN --what"),
    "pipelines.beam.worker_pool": ("--port 70000", "--port x", "--what"),
    "pipelines.demo.run_summary": ("NONE", "IN --what"),
    "pipelines.demo.sample": ("--output USED", "--output NEW --scale x"),
    "trainer.task": ("--dataset NONE --output NEW", "--dataset IN --output NEW --what", "--dataset IN"),
    "trainer.evaluate": ("--dataset NONE --model NONE --output NEW", "--dataset IN --model IN --output NEW --what"),
    "trainer.experiment": ("--dataset NONE --output NEW", "--dataset IN --output NEW --what", "--dataset IN"),
    "trainer.distribution.local_cluster": ("--what",),
}
# What declares the options of these needs them: arrays are what they are about.
NUMPY = ["numpy", "PIL"]
IMPORTED = dict.fromkeys(("pipelines.demo.sample", "trainer.evaluate", "trainer.experiment"), NUMPY)


@pytest.mark.parametrize("module", MISTAKES)
def test_help_and_mistakes_load_no_heavy_library(tmp_path: Path, module: str) -> None:
    places = {name: str(tmp_path / name.lower()) for name in ("IN", "NEW", "NONE", "USED")}
    for place, name in (("IN", "a.jpg"), ("USED", "thesis.txt")):
        Path(places[place]).mkdir()
        (Path(places[place]) / name).write_text("x")

    def line(text: str) -> list[str]:
        for name, path in places.items():
            text = text.replace(name, path)
        return text.split()

    found = started(module, [["--help"], *map(line, MISTAKES[module])])
    assert found.codes == [0, *[2] * len(MISTAKES[module])], found.stderr
    assert found.imported == IMPORTED.get(module, [])
    assert not (tmp_path / "new").exists()


def test_mistakes_about_inputs_and_models_of_score_load_neither_beam_nor_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("x")
    places = ("--model", tmp_path / "none", "--output", tmp_path / "new")
    lines = [["--input", path, *places] for path in (tmp_path / "none", tmp_path)]
    found = started("pipelines.score", lines)
    assert found.codes == [2, 2], found.stderr
    assert set(found.imported) <= set(NUMPY)
