from __future__ import annotations

import pytest
from scipy.stats import chi2

from pipelines.score.chi_squared import quantile


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.95, 0.999])
def test_the_quantile_is_that_of_scipy(probability: float) -> None:
    for degrees in range(1, 100):
        assert quantile(probability, degrees) == pytest.approx(chi2.ppf(probability, degrees), rel=1e-12)


def test_without_a_degree_of_freedom_nothing_varies() -> None:
    assert quantile(0.999, 0) == 0
