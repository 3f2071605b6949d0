"""Which threshold a run flags with: the models' own, the user's, or none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW, OperatingPoint
from pipelines.domain.model_info import ModelInfo
from pipelines.score.models import choose_flagging, read_model_info
from pipelines.score.options import parse_options
from tests.support.documents import model_document, write_model_json
from tests.support.score_row_maker import scoring_run


def point(target: float, threshold: Any) -> OperatingPoint:
    return OperatingPoint(target, threshold, target, 0.5, 40, 60)


def models(*thresholds: float | None) -> list[ModelInfo]:
    """One for each: with points for 0.9 and 0.95, that much higher for eight views; None: a model without points."""
    infos = scoring_run(models=len(thresholds)).models
    known: list[dict[str, tuple[OperatingPoint, ...]]] = [
        {ONE_VIEW: (), EIGHT_VIEWS: ()}
        if value is None
        else {
            ONE_VIEW: (point(0.9, value + 0.1), point(0.95, value)),
            EIGHT_VIEWS: (point(0.9, value + 0.15), point(0.95, value + 0.05)),
        }
        for value in thresholds
    ]
    return [dataclasses.replace(info, operating_points=points) for info, points in zip(infos, known, strict=True)]


def test_the_models_own_threshold() -> None:
    (model,) = models(0.2)
    assert choose_flagging([model], False, None, None) == (0.2, 0.95, (point(0.95, 0.2),))
    for tta, target, threshold in ((False, 0.9, 0.3), (True, None, 0.25)):
        chosen = choose_flagging([model], tta, target, None)
        assert chosen is not None
        assert chosen.threshold == pytest.approx(threshold)


def test_an_ensemble_takes_the_mean() -> None:
    found = choose_flagging(models(0.2, 0.5), True, 0.9, None)
    assert found is not None
    assert found.threshold == pytest.approx(0.5)
    assert [one.threshold for one in found.points] == pytest.approx([0.35, 0.65])


def test_a_threshold_of_the_user_s_own_needs_no_points() -> None:
    for chosen in (models(None), models(0.2)):
        assert choose_flagging(chosen, False, None, 0.7) == (0.7, None, ())


def test_models_without_points_flag_nothing_unless_asked() -> None:
    for chosen in (models(None), models(0.2, None)):
        assert choose_flagging(chosen, False, None, None) is None
        with pytest.raises(
            UsageError, match=r"models/\d has no operating point for it, nor for any other; give --flag_t"
        ):
            choose_flagging(chosen, False, 0.95, None)
    with pytest.raises(
        UsageError, match=r"0\.97: models/0 has no .* it, those for 0\.9, 0\.95; give one of them or --"
    ):
        choose_flagging(models(0.2), False, 0.97, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            ("--flag_sensitivity=0.9", "--flag_threshold=0.1"),
            "0.9 and --flag_threshold 0.1: each chooses the threshold",
        ),
        (("--flag_sensitivity=0",), "--flag_sensitivity 0: a number above 0"),
        (("--flag_sensitivity=95",), "--flag_sensitivity 95: a number above 0"),
        (("--flag_threshold=nan",), "--flag_threshold nan: a number above 0"),
    ],
)
def test_wrong_flagging_options_are_refused(given: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_options(["--input=a", "--model=b", "--output=c", *given])


def described(folder: Path, **more: Any) -> ModelInfo:
    """What is read of a model's description with these keys."""
    write_model_json(folder, model_document(["a", "b"], ["b"], 32, **more))
    (folder / "saved_model.pb").write_bytes(b"")
    return read_model_info("--model", str(folder))


def test_what_a_model_says_of_its_points(tmp_path: Path) -> None:
    own = point(0.95, 0.2)._replace(specificity=None)
    stored = {ONE_VIEW: [own._asdict()], EIGHT_VIEWS: []}
    calibration = {"temperature": 1.5, "prior": {"a": 0.75, "b": 0.25}}
    model = described(tmp_path / "with", operating_points=stored, calibration=calibration)
    assert (model.operating_points, model.calibration) == ({ONE_VIEW: (own,), EIGHT_VIEWS: ()}, calibration)
    assert model.prior == (0.75, 0.25)
    without = described(tmp_path / "without")
    assert choose_flagging([without], False, None, None) is None


def test_a_model_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        described(tmp_path / "model", schema_version=2)
    assert str(caught.value) == (
        f"--model {tmp_path}/model: assets/model.json has schema version 2, this program reads 3; "
        "train the model again with this version"
    )


@pytest.mark.parametrize("key", sorted(model_document(["a", "b"], ["b"], 32)))
def test_a_description_that_lacks_a_key_is_damaged(tmp_path: Path, key: Any) -> None:
    document = model_document(["a", "b"], ["b"], 32)
    del document[key]
    write_model_json(tmp_path, document)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(
        UsageError, match=rf"model\.json is damaged \(KeyError: '{key}'\); name the model folder"
    ) as caught:
        read_model_info("--model", str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "points",
    [
        [{"target": 0.95}],
        [{**point(0.95, 0.2)._asdict(), "more": 1}],
        [point(0.95, "high")._asdict()],
        [point(0.95, float("nan"))._asdict()],
        [3],
    ],
)
def test_a_model_with_damaged_operating_points_is_refused(tmp_path: Path, points: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"model\.json is damaged"):
        described(tmp_path / "model", operating_points={ONE_VIEW: points, EIGHT_VIEWS: []})


def test_frequencies_that_lack_a_class(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.json is damaged"):
        described(tmp_path / "model", calibration={"temperature": 1.0, "prior": {"nevus": 1.0}})
