"""Multiply-adds, against sums done by hand."""

from __future__ import annotations

import keras

from trainer.network.model import ModelConfig, build_model, multiply_adds


def test_layers_by_hand():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same")(inputs)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    inner = keras.Model(inputs, keras.layers.Dense(5)(x))
    by_hand = 4 * 4 * 16 * 27 + 4 * 4 * 16 * 9 + 16 * 5
    assert multiply_adds(inner) == by_hand
    outer = keras.Input((8, 8, 3))
    assert multiply_adds(keras.Model(outer, inner(outer))) == by_hand


def test_a_separable_layer_costs_what_its_two_parts_do():
    inputs = keras.Input((8, 8, 6))
    one = keras.Model(inputs, keras.layers.SeparableConv2D(10, 3, strides=2, padding="same")(inputs))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(inputs)
    two = keras.Model(inputs, keras.layers.Conv2D(10, 1)(x))
    assert multiply_adds(one) == multiply_adds(two) == 4 * 4 * (6 * 9 + 6 * 10)


def test_an_image_of_twice_the_side_costs_four_times_as_much():
    small, large = (multiply_adds(build_model(ModelConfig(squeeze_excite=0), size, 9)) for size in (64, 128))
    linear = 288 * 9
    assert large - linear == 4 * (small - linear)
