"""Random choices as functions of identities: the same key gives the same draw on any runner, in any order."""

from __future__ import annotations

import hashlib


def stable_hash(*parts: object) -> int:
    """64-bit hash of the parts' text (BLAKE2b); differs with the order and the boundaries of the parts."""
    key = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def uniforms(count: int, *parts: object) -> list[float]:
    """`count` numbers in [0, 1), multiples of 2**-53, drawn from the parts alone."""
    return [(stable_hash(*parts, index) >> 11) * 2.0**-53 for index in range(count)]
