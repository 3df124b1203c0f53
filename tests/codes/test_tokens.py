"""Token histograms against a direct count."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.codes.histograms import token_histograms


def test_equals_a_direct_count():
    codes = np.random.default_rng(1).integers(0, 7, (3, 2, 50)).astype(np.int16)
    found = token_histograms(codes, 7)
    assert found.dtype == np.float32
    for clip in range(3):
        for k in range(2):
            for entry in range(7):
                assert found[clip, k * 7 + entry] == np.float32((codes[clip, k] == entry).mean())


def test_root_gives_unit_length_per_codebook():
    codes = np.random.default_rng(1).integers(0, 7, (3, 4, 50)).astype(np.int16)
    rooted = token_histograms(codes, 7, root=True)
    np.testing.assert_allclose(np.square(rooted).sum(1), 4, rtol=1e-6)


@pytest.mark.parametrize(
    "codes", [np.full((1, 1, 3), 7), np.full((1, 1, 3), -1), np.zeros((1, 1, 0), dtype=int)]
)
def test_tokens_outside_the_codebook(codes: np.ndarray):
    with pytest.raises(ContractError, match=r"audio tokens must lie in 0\.\.6"):
        token_histograms(codes, 7)
