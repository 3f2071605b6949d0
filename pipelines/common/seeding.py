"""Draw random values as functions of a key: equal keys give equal draws on any runner and in any order."""

from __future__ import annotations

import hashlib


def stable_hash(*parts: object) -> int:
    """Return a 64-bit BLAKE2b hash of the text of the parts, which depends on their order and boundaries."""
    key = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def uniforms(count: int, *parts: object) -> list[float]:
    """Return `count` numbers in [0, 1), multiples of 2**-53, that depend on the parts alone."""
    return [(stable_hash(*parts, index) >> 11) * 2.0**-53 for index in range(count)]
