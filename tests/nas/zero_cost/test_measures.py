"""The formulas, against the papers' own on arrays that anybody can make."""

from __future__ import annotations

import numpy as np
import pytest

from nas.zero_cost import measures

RNG = np.random.default_rng(0)


def agreement(codes: np.ndarray) -> np.ndarray:
    """Units less the Hamming distance [images, images], by counting."""
    return np.array([[(one == other).sum() for other in codes] for one in codes])


def test_naswot_is_the_determinant_of_what_codes_have_in_common() -> None:
    codes = RNG.random((6, 40)) < 0.5
    both = codes @ codes.T.astype(float) + ~codes @ (~codes).T.astype(float)
    assert np.array_equal(agreement(codes), both)
    assert measures.naswot(both) == pytest.approx(np.log(np.linalg.det(both)), rel=1e-6)


def test_images_that_a_network_cannot_tell_apart_cost_nearly_everything() -> None:
    codes = RNG.random((6, 40)) < 0.5
    twice = agreement(np.concatenate([codes[:5], codes[:1]]))
    assert np.linalg.matrix_rank(twice) == 5
    assert np.isfinite(measures.naswot(twice)) and measures.naswot(twice) < measures.naswot(agreement(codes)) - 10
    assert np.isfinite(measures.naswot(np.zeros((6, 6))))


def test_jacob_cov_is_that_of_numpys_correlations() -> None:
    slopes = RNG.normal(size=(8, 50)) * RNG.uniform(0.1, 10, size=(8, 1)) + 3
    v = np.linalg.eigvalsh(np.corrcoef(slopes)) + 1e-5
    assert measures.jacob_cov(slopes) == pytest.approx(-(np.log(v) + 1 / v).sum(), rel=1e-9)


@pytest.mark.parametrize("kind", ["again", "none", "flat"])
def test_an_image_without_a_direction_of_its_own_counts_as_one_that_is_there_twice(kind: str) -> None:
    slopes = RNG.normal(size=(8, 50))
    worse = slopes.copy()
    worse[3] = {"again": slopes[2], "none": 0.0, "flat": 7.0}[kind]
    assert measures.jacob_cov(worse) == pytest.approx(-1e5, rel=0.01) and measures.jacob_cov(slopes) > -100


def test_the_scale_of_the_input_is_taken_off_synflow_again() -> None:
    flows = [2.0, 3.0, 0.5]
    assert measures.synflow(flows, 1.0) == pytest.approx(np.log(5.5))
    assert measures.synflow([1e-150 * flow for flow in flows], 1e-150) == pytest.approx(np.log(5.5))
    assert np.isfinite(measures.synflow([0.0], 1.0))
