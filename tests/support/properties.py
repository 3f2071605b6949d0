"""How property tests draw their cases: the same ones each time, few enough to be quick."""

from __future__ import annotations

from hypothesis import settings

# Of a pure function.
PURE = settings(derandomize=True, deadline=None, max_examples=100, database=None)
# Of a transform: each case runs a pipeline or two.
IN_A_PIPELINE = settings(derandomize=True, deadline=None, max_examples=2, database=None)
