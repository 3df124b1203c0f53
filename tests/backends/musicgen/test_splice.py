"""The spliced model: the identity changes nothing; losses against the stock model and by hand."""

import numpy as np
import pytest
import torch

from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.musicgen.splice import cross_entropies
from moodlens.base.errors import UsageError
from moodlens.codes.delay import apply_delay
from moodlens.params.pipeline import Model
from tests.tiny_model import save_tiny_model

TEXTS = ["sad flute piece", "happy folk music with organ"]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> MusicgenBackend:
    root = tmp_path_factory.mktemp("splice")
    return catalog.load(Model(str(save_tiny_model(root / "model")), "", "float32", "cpu"), root)


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 32, (2, 4, 12)).astype(np.int16)


def test_original_loss_is_that_of_the_stock_forward_pass(backend: MusicgenBackend, codes: np.ndarray):
    losses = cross_entropies(backend, codes, TEXTS, ("residual", 0), {"original": None})
    model, tokenizer = backend.parts
    total, n = 0.0, 0
    for clip, text in zip(codes, TEXTS, strict=True):
        columns = apply_delay(torch.from_numpy(clip[None].astype(np.int64)), 32)
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = model(input_ids=ids, decoder_input_ids=columns[0, :, :-1]).logits
        for k in range(4):
            for step in range(k, k + 12):  # step k + f puts out codebook k of frame f
                log_p = logits[k, step].double().log_softmax(0)
                total -= float(log_p[int(clip[k, step - k])])
                n += 1
    assert losses["original"] == pytest.approx(total / n, rel=1e-5)


def test_identity_changes_nothing_and_the_hook_is_gone_afterwards(
    backend: MusicgenBackend, codes: np.ndarray
):
    edits = {"original": None, "same": lambda x: x, "zero": torch.zeros_like}
    losses = cross_entropies(backend, codes, TEXTS, ("residual", 1), edits)
    assert losses["same"] == losses["original"] != losses["zero"]
    again = cross_entropies(backend, codes, TEXTS, ("residual", 1), {"original": None})
    assert again["original"] == losses["original"]
    assert cross_entropies(backend, codes, TEXTS, ("mlp", 0), {"zero": torch.zeros_like})["zero"] > 0


def test_a_zeroed_last_layer_leaves_the_bias_of_the_final_norm(backend: MusicgenBackend, codes: np.ndarray):
    decoder = backend.parts[0].decoder
    losses = cross_entropies(backend, codes, TEXTS, ("residual", 1), {"zero": torch.zeros_like})
    with torch.inference_mode():
        logits = [head(decoder.model.decoder.layer_norm.bias).log_softmax(0) for head in decoder.lm_heads]
    expected = -np.mean([float(logits[k][int(code)]) for clip in codes for k in range(4) for code in clip[k]])
    assert losses["zero"] == pytest.approx(expected, rel=1e-5)


def test_without_clips_there_is_no_loss(backend: MusicgenBackend, codes: np.ndarray):
    with pytest.raises(UsageError, match="a splice must have clips"):
        cross_entropies(backend, codes[:0], [], ("residual", 0), {"original": None})
