"""Augmentation: its geometry is exact, its draws are uniform, and it depends on nothing but the key."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.data import augment

SIZE = 9


@pytest.fixture(scope="module")
def keys() -> tf.Tensor:
    sha256 = tf.constant([f"{index:064x}" for index in range(4000)])
    return augment.example_keys(sha256, tf.zeros([4000], tf.int64), seed=0, epoch=0)


def test_draws_are_uniform_and_independent(keys: tf.Tensor) -> None:
    draws = np.stack([augment.uniform(keys, name, -1, 3).numpy() for name in ("turn", "mirror", "zoom")])
    assert draws.dtype == np.float64
    assert draws.min() >= -1
    assert draws.max() < 3
    for row in draws:
        counts = np.histogram(row, bins=8, range=(-1, 3))[0]
        assert np.abs(counts - 500).max() < 100
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.06


def test_key_depends_on_image_copy_seed_and_epoch() -> None:
    sha256, zero, one = tf.constant(["a"]), tf.zeros([1], tf.int64), tf.ones([1], tf.int64)
    variants = [
        augment.example_keys(sha256, zero, 0, 0),
        augment.example_keys(tf.constant(["b"]), zero, 0, 0),
        augment.example_keys(sha256, one, 0, 0),
        augment.example_keys(sha256, zero, 1, 0),
        augment.example_keys(sha256, zero, 0, 1),
    ]
    assert len({float(augment.uniform(key, "turn", 0, 1)[0]) for key in variants}) == 5


def test_without_the_mild_part_all_eight_flips_and_turns_come_out_exactly(
    keys: tf.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for strength in ("ROTATION", "ZOOM", "SHIFT", "BRIGHTNESS", "TINT", "CONTRAST", "STRETCH", "SATURATION"):
        monkeypatch.setattr(augment, strength, 0.0)
    image = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    out = augment.augment(tf.constant(np.stack([image] * 64)), keys[:64]).numpy()
    orbit = [np.rot90(base, turn) for base in (image, image[:, ::-1]) for turn in range(4)]
    seen = [next(i for i, member in enumerate(orbit) if np.array_equal(member, row)) for row in out]
    assert set(seen) == set(range(8))


def test_strength_stays_mild(keys: tf.Tensor) -> None:
    image = tf.ones([200, SIZE, SIZE, 3])
    out = augment.augment(image, keys[:200]).numpy()
    assert out.dtype == np.float32
    # A uniform image stays uniform, whatever the geometry: contrast times 1, plus brightness and tint.
    assert out.std(axis=(1, 2)).max() < 1e-5
    low = np.exp(-augment.CONTRAST) - augment.BRIGHTNESS - augment.TINT
    high = np.exp(augment.CONTRAST) + augment.BRIGHTNESS + augment.TINT
    assert low <= out.min() < 0.8
    assert 1.2 < out.max() <= high


def test_one_image_alone_gets_what_it_gets_in_a_batch(keys: tf.Tensor) -> None:
    images = tf.constant(np.random.default_rng(1).normal(size=(6, SIZE, SIZE, 3)), tf.float32)
    together = augment.augment(images, keys[:6]).numpy()
    compiled = tf.function(augment.augment)
    alone = np.concatenate([compiled(images[i : i + 1], keys[i : i + 1]).numpy() for i in range(6)])
    assert np.array_equal(together, alone)
