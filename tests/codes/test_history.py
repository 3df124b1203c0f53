"""Token history: by hand, and against the decoder's own delayed input."""

import numpy as np
import torch

from moodlens.codes.delay import apply_delay
from moodlens.codes.histograms import frames_fed, token_history, vector_history

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 5, size=(3, 4, 10))


def test_frames_fed_are_the_tokens_in_the_input_columns():
    columns = apply_delay(torch.from_numpy(CODES), pad_id=5).numpy()
    for step in range(13):
        for k in range(4):
            fed = columns[0, k, : step + 1]
            assert frames_fed(step, k, 10) == (fed != 5).sum()
            assert fed[fed != 5].tolist() == CODES[0, k, : frames_fed(step, k, 10)].tolist()


def test_the_history_by_hand():
    codes = np.array([[[0, 0, 1, 1], [1, 0, 0, 0]]])
    # Step 3: codebook 0 has brought 0 0 1, codebook 1 has brought 1 0.
    history = token_history(codes, 3, 2)
    np.testing.assert_allclose(history**2, [[2 / 3, 1 / 3, 1 / 2, 1 / 2]], rtol=1e-6)
    assert token_history(codes, 1, 2)[0, 2:].tolist() == [0, 0]  # nothing of codebook 1 yet


def test_vector_history_is_linear_in_the_histogram():
    books = RNG.normal(size=(4, 5, 6))
    vectors = np.stack([books[k][CODES[:, k]] for k in range(4)], axis=1)
    for i, step in enumerate((3, 7, 12)):
        shares = token_history(CODES, step, 5).reshape(3, 4, 5) ** 2
        expected = np.einsum("cke,ked->cd", shares, books)
        np.testing.assert_allclose(vector_history(vectors, (3, 7, 12))[:, i], expected, atol=1e-5)
