"""What an exported model says of itself, and whether it is the one that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.model_files import MODEL_JSON
from pipelines.domain.model_info import ModelInfo, parse_model_info, require_fingerprints
from tests.support.documents import model_document, write_model_json


def model(folder: Path, **changes: object) -> ModelInfo:
    """A model that says so."""
    write_model_json(folder, model_document(["a", "b"], ["b"], 32, **changes))
    return parse_model_info((folder / MODEL_JSON).read_bytes(), "--model", str(folder))


def test_a_description_that_was_changed_is_refused(tmp_path: Path) -> None:
    assert model(tmp_path).files == {}
    path = tmp_path / MODEL_JSON
    for old, new in (('"temperature": 1.0', '"temperature": 0.1'), ('"files": {}', '"files": {"a": 1}')):
        assert old in path.read_text()
        with pytest.raises(
            UsageError, match=r"^--model m: assets/model\.json was changed after the export \(its finger"
        ):
            parse_model_info(path.read_text().replace(old, new).encode(), "--model", "m")
    # In other words, it is the same.
    assert parse_model_info(path.read_text().replace("  ", "").encode(), "--model", str(tmp_path)) == model(tmp_path)


@pytest.mark.parametrize("key", ["model_fingerprint", "files"])
def test_a_description_without_fingerprint_or_files_is_damaged(tmp_path: Path, key: str) -> None:
    model(tmp_path)
    text = (tmp_path / MODEL_JSON).read_text().replace(f'"{key}"', '"other"')
    with pytest.raises(UsageError, match=r"model\.json (is damaged \(KeyError: '|was changed after the export)"):
        parse_model_info(text.encode(), "--model", "m")


def test_models_are_held_against_the_fingerprints_that_are_expected(tmp_path: Path) -> None:
    one, two = model(tmp_path / "1", fold=1), model(tmp_path / "2", fold=2)
    require_fingerprints([one, two], [])
    require_fingerprints([one, two], [two.fingerprint, one.fingerprint])
    with pytest.raises(
        UsageError, match=f"^--model_fingerprint {two.fingerprint}: {one.path} has {one.fingerprint}, so"
    ):
        require_fingerprints([one], [two.fingerprint])
    with pytest.raises(UsageError, match=f"^--model_fingerprint {two.fingerprint}: no --model has it"):
        require_fingerprints([one], [one.fingerprint, two.fingerprint])
    with pytest.raises(UsageError, match=f"^--model_fingerprint {one.fingerprint}: {two.path} has"):
        require_fingerprints([one, two], [one.fingerprint])
