"""Hashes and draws that depend on nothing but what they are made of."""

from __future__ import annotations

from pipelines.common.seeding import stable_hash, uniforms


def test_hash_separates_parts_and_uniforms_are_uniform() -> None:
    assert stable_hash("ab", "c") != stable_hash("a", "bc")
    draws = [value for n in range(500) for value in uniforms(4, "seed", n)]
    assert all(0 <= value < 1 for value in draws)
    assert abs(sum(draws) / len(draws) - 0.5) < 0.03
