"""Token shares against a direct count."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.codes.histograms import hellinger_histograms, token_shares


def test_equals_a_direct_count():
    codes = np.random.default_rng(1).integers(0, 7, (3, 2, 50)).astype(np.int16)
    shares = token_shares(codes, 7)
    assert shares.dtype == np.float64
    for clip in range(3):
        for k in range(2):
            for entry in range(7):
                assert shares[clip, k * 7 + entry] == (codes[clip, k] == entry).mean()


def test_the_root_gives_unit_length_per_codebook():
    codes = np.random.default_rng(1).integers(0, 7, (3, 4, 50)).astype(np.int16)
    rooted = hellinger_histograms(codes, 7)
    np.testing.assert_allclose(np.square(rooted).sum(1), 4)


@pytest.mark.parametrize(
    "codes", [np.full((1, 1, 3), 7), np.full((1, 1, 3), -1), np.zeros((1, 1, 0), dtype=int)]
)
def test_tokens_outside_the_codebook_are_refused(codes: np.ndarray):
    for histogram in (token_shares, hellinger_histograms):
        with pytest.raises(ContractError, match=r"audio tokens must lie in 0\.\.6"):
            histogram(codes, 7)
