"""Patches: the identity changes no bit, other patches change downstream states only, faults are refused."""

import numpy as np
import pytest
import torch

from moodlens.backends.edits import patched
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.errors import ContractError, UsageError
from moodlens.contracts.backend import Capture, Patch

TEXTS = ["a happy piano piece", "sad"]
CODES = np.random.default_rng(0).integers(0, 32, size=(2, 4, 12)).astype(np.int16)
EVERY = Capture(("residual", "self_attention", "mlp", "embedding", "final_norm", "logits"), half="both")


@pytest.mark.parametrize(
    "name", ["embedding.0", "residual.0", "residual.1", "self_attention.1", "final_norm.0"]
)
def test_an_identity_patch_changes_nothing_bit_for_bit(backend: MusicgenBackend, name: str):
    before = backend.teacher_force(CODES, TEXTS, EVERY).values
    patches = [Patch(name, before[f"{name}/{half}"], half) for half in ("cond", "uncond")]
    after = backend.teacher_force(CODES, TEXTS, EVERY, patches).values
    assert all(np.array_equal(states, after[key]) for key, states in before.items())


def test_a_patch_moves_its_half_from_its_step_on_and_nothing_else(backend: MusicgenBackend):
    before = backend.teacher_force(CODES, TEXTS, EVERY).values
    given = np.ones((2, 2, 32), dtype=np.float32)
    after = backend.teacher_force(CODES, TEXTS, EVERY, [Patch("residual.0", given, "cond", (5, 6))]).values
    assert (after["residual.0/cond"][:, 5:7] == 1).all()
    for key in ("residual.1/cond", "logits.0/cond"):
        moved = np.abs(after[key] - before[key]).max(axis=2)
        assert (moved[:, :5] == 0).all()  # causal: no step before the patch
        assert (moved[:, 5:] > 0).all()
    for key, states in before.items():
        if key.endswith("/uncond"):
            assert np.array_equal(states, after[key])


def test_hooks_are_gone_after_a_patch(backend: MusicgenBackend):
    given = np.ones((2, 15, 32), dtype=np.float32)
    backend.teacher_force(CODES, TEXTS, Capture(), [Patch("residual.0", given)])
    assert all(not module._forward_hooks for module in backend._model.modules())


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (Patch("residuals.0", np.ones((2, 15, 32))), "must name sites; got 'residuals'"),
        (Patch("residual.9", np.ones((2, 15, 32))), "must name a hookpoint of this model; got 'residual.9'"),
        (Patch("residual.0", np.ones((2, 15, 32)), "uncond"), "must name a half that is run"),
        (Patch("residual.0", np.ones((2, 1, 32)), "cond", (15,)), r"must name ascending steps in 0\.\.14"),
        (Patch("residual.0", np.ones((2, 3, 32))), r"must hold values of shape \(1 clips, 15 steps, width\)"),
        (Patch("residual.0", np.ones((2, 15, 8))), "must be 32 wide; got 8"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(backend: MusicgenBackend, patch: Patch, message: str):
    with pytest.raises(UsageError, match=message):
        backend.teacher_force(CODES, TEXTS, Capture(), [patch])


def test_a_module_that_skips_a_step_is_refused():
    module = torch.nn.Identity()
    patch = Patch("residual.0", np.ones((1, 3, 2), dtype=np.float32))
    with (
        pytest.raises(ContractError, match="must replace 3 steps, each once; got 2"),
        patched({"residual.0": module}, [patch], {"cond": slice(0, 1)}, 3),
    ):
        module(torch.zeros(1, 2, 2))


def test_a_patch_step_by_step_is_the_patch_of_the_whole_pass():
    values = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    module, patch = torch.nn.Identity(), Patch("residual.0", values[:, [1, 3]], "cond", (1, 3))
    states = torch.full((2, 4, 2), -1.0)
    seen = []
    with patched({"residual.0": module}, [patch], {"cond": slice(0, 1)}, 4):
        seen = [module(states[:, i : i + 1]) for i in range(4)]
    patched_states = torch.cat(seen, dim=1)
    assert patched_states[0, :, 0].tolist() == [-1, 2, -1, 6]
    assert (patched_states[1] == -1).all()
    assert (states == -1).all()  # the module's own output is left alone


def test_whole_sites_are_what_their_names_say(backend: MusicgenBackend):
    states = backend.teacher_force(CODES, TEXTS, EVERY).values
    model = backend._model.decoder
    with torch.inference_mode():
        final = torch.from_numpy(states["final_norm.0/cond"])
        logits = torch.cat([head(final) for head in model.lm_heads], dim=-1)
        normed = model.model.decoder.layer_norm(torch.from_numpy(states["residual.1/cond"]))
    np.testing.assert_allclose(states["logits.0/cond"], logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(states["final_norm.0/cond"], normed.numpy(), atol=1e-5)
    # The first input column is all start tokens: the same for every clip and half.
    assert np.array_equal(states["embedding.0/cond"][0, 0], states["embedding.0/uncond"][1, 0])


def test_the_random_decoder_keeps_the_text_encoder_and_draws_the_rest(backend: MusicgenBackend):
    decoder, again, twin = backend.random_decoder(0), backend.random_decoder(0), backend.random_twin(0)
    text, drawn = backend.encode_text(TEXTS[:1])[0], decoder.encode_text(TEXTS[:1])[0]
    assert np.array_equal(text.hidden, drawn.hidden)
    assert np.abs(text.projected - drawn.projected).max() > 1e-3
    states = [
        model.teacher_force(CODES, [None, None], Capture()).values["residual.1/cond"]
        for model in (decoder, again, twin, backend)
    ]
    assert np.array_equal(states[0], states[1])
    # Another draw than the twin's: under null text the two would otherwise be one control counted twice.
    assert np.abs(states[0] - states[2]).max() > 0.01
    assert np.abs(states[0] - states[3]).max() > 0.01
    assert len({model.info.weights_sha256 for model in (decoder, twin, backend)}) == 3


def test_token_vectors_sum_to_what_the_codec_decodes(backend: MusicgenBackend):
    vectors = backend.token_vectors(CODES)
    assert vectors.shape[:3] == CODES.shape
    given = torch.from_numpy(CODES.astype(np.int64)).transpose(0, 1)
    latents = backend._model.audio_encoder.quantizer.decode(given)
    np.testing.assert_allclose(vectors.sum(axis=1).transpose(0, 2, 1), latents.numpy(), atol=1e-6)
