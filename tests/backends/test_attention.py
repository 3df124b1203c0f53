"""Attention summaries against transformers' eager attention, scipy, and teacher forcing."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from moodlens.attention.words import CLASSES, CONTROL, EMOTION, END
from moodlens.backends import attention
from moodlens.backends.attention import AttentionRecorder, self_statistics
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.errors import ContractError, UsageError
from moodlens.codes.delay import apply_delay
from moodlens.contracts.backend import Capture, ClipRequest, Sampling

TEXTS = ["a happy piano piece", "sad", "a calm and slow guitar in the rain, zorp"]
WORDINGS = ["happy", "sad", "calm, slow"]
N_FRAMES = 12
BOTH = ("cross", "self")


def requests() -> list[ClipRequest]:
    return [
        ClipRequest(f"c{i}", f"p{i}", text, i, wording)
        for i, (text, wording) in enumerate(zip(TEXTS, WORDINGS, strict=True))
    ]


@pytest.fixture(scope="module")
def sharp(tiny_folder) -> MusicgenBackend:
    """A backend of its own whose attention is far from uniform, so that a wrong weight shows."""
    from moodlens.backends import catalog
    from moodlens.params.pipeline import Model

    backend = catalog.load(Model(str(tiny_folder), "", "float32", "cpu"), tiny_folder)
    model, _ = backend.parts
    with torch.no_grad():
        for layer in model.decoder.model.decoder.layers:
            for name in ("self_attn", "encoder_attn"):
                getattr(layer, name).q_proj.weight *= 30
                getattr(layer, name).k_proj.weight *= 10
    return backend


@pytest.fixture(scope="module")
def eager(sharp: MusicgenBackend) -> dict[str, list[np.ndarray]]:
    """Weights per clip that transformers forms itself: (layer, head, step, key), of the generated tokens."""
    codes = sharp.generate(requests(), Sampling(N_FRAMES), Capture(sites=())).codes
    model, _ = sharp.parts
    model.decoder.set_attn_implementation("eager")
    weights: dict[str, list[np.ndarray]] = {"cross": [], "self": []}
    columns = apply_delay(torch.from_numpy(codes.astype(np.int64)), model.decoder.config.pad_token_id)
    for clip, text in enumerate(TEXTS):
        with torch.inference_mode():
            encoding = sharp.encode_text([text])[0]
            out = model.decoder.model(
                columns[clip, :, :-1],
                encoder_hidden_states=torch.from_numpy(encoding.projected)[None],
                output_attentions=True,
            )
        weights["self"].append(torch.cat(out.attentions).numpy())
        weights["cross"].append(torch.cat(out.cross_attentions).numpy())
    model.decoder.set_attn_implementation(attention.NAME)
    return weights


def test_summaries_equal_those_of_transformers_eager_weights(sharp: MusicgenBackend, eager):
    made = sharp.generate(requests(), Sampling(N_FRAMES), Capture(attention=BOTH)).states.attention
    classes = [sharp._token_classes(text, words) for text, words in zip(TEXTS, WORDINGS, strict=True)]
    assert [CLASSES[k] for k in classes[0]] == ["other", "emotion", "control", "other", "end"]
    for clip, of_token in enumerate(classes):
        cross, own = eager["cross"][clip], eager["self"][clip]
        assert cross.shape == (2, 2, N_FRAMES + 3, len(of_token))
        expected = {
            "cross/entropy": scipy_entropy(cross, axis=-1),
            "cross/emotion": cross[..., of_token == EMOTION].sum(-1),
            "cross/control": cross[..., of_token == CONTROL].sum(-1),
            "cross/end": cross[..., of_token == END].sum(-1),
            "self/entropy": scipy_entropy(own, axis=-1),
            "self/first": own[..., 0],
            "self/distance": sum(
                own[..., key] * (np.arange(own.shape[2]) - key) for key in range(own.shape[3])
            ),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(made[name][clip], values, atol=2e-5, err_msg=name)
        assert made["tokens"][clip].tolist() == np.bincount(of_token, minlength=4).tolist()
    assert np.ptp(made["cross/entropy"]) > 0.3  # far from uniform: the comparison can fail


def test_recording_attention_changes_no_token_and_no_state(sharp: MusicgenBackend):
    for capture in (Capture(), Capture(half="both"), Capture(sites=("cross_attention", "self_attention"))):
        watched = Capture(capture.sites, capture.layers, capture.half, BOTH)
        plain, seen = (sharp.generate(requests(), Sampling(N_FRAMES), c) for c in (capture, watched))
        assert np.array_equal(plain.codes, seen.codes)
        assert set(plain.states.values) == set(seen.states.values)
        for key, states in plain.states.values.items():
            assert np.array_equal(states, seen.states.values[key]), key
        assert plain.states.attention == {}
        forced, looked = (
            sharp.teacher_force(plain.codes, TEXTS, c, wordings=WORDINGS) for c in (capture, watched)
        )
        for key, states in forced.values.items():
            assert np.array_equal(states, looked.values[key]), key


def test_a_teacher_forced_pass_gives_the_summaries_of_generation(
    sharp: MusicgenBackend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(attention, "CHUNK", 4)  # several chunks, the last one shorter
    made = sharp.generate(requests(), Sampling(N_FRAMES), Capture(attention=BOTH))
    forced = sharp.teacher_force(made.codes, TEXTS, Capture(attention=BOTH), wordings=WORDINGS)
    assert set(made.states.attention) == set(forced.attention)
    for name, values in made.states.attention.items():
        assert values.shape[0] == len(TEXTS)
        np.testing.assert_allclose(values, forced.attention[name], atol=2e-4, err_msg=name)


def test_modules_are_restored_after_a_run(sharp: MusicgenBackend):
    sharp.generate(requests(), Sampling(4), Capture(attention=BOTH))
    assert all(not hasattr(module, "watch") for module in sharp.parts[0].modules())


def test_other_clips_of_a_batch_do_not_change_a_clip(sharp: MusicgenBackend):
    whole = sharp.generate(requests(), Sampling(N_FRAMES), Capture(attention=BOTH)).states.attention
    alone = sharp.generate(requests()[1:2], Sampling(N_FRAMES), Capture(attention=BOTH)).states.attention
    for name, values in alone.items():
        assert np.array_equal(values[0], whole[name][1]), name


def test_statistics_of_uniform_weights_by_hand():
    weights = torch.tril(torch.ones(5, 5))
    weights = (weights / weights.sum(-1, keepdim=True))[None, None]
    entropy, distance, first = self_statistics(weights, 0)[:, 0, 0].numpy()
    np.testing.assert_allclose(entropy, np.log([1, 2, 3, 4, 5]), atol=1e-6)
    np.testing.assert_allclose(distance, [0, 0.5, 1, 1.5, 2], atol=1e-6)
    np.testing.assert_allclose(first, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], atol=1e-6)


def test_a_model_without_cross_attention_is_refused(sharp: MusicgenBackend):
    class Prepending(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.self_attn = torch.nn.Identity()

    with pytest.raises(UsageError, match=r"generate\.attention must be false .* got 'true, cross-attention'"):
        AttentionRecorder([Prepending()], [], 3, ("cross",))


def test_a_step_recorded_twice_or_never_is_refused():
    layer = torch.nn.Module()
    layer.self_attn = torch.nn.Identity()
    recorder = AttentionRecorder([layer], [np.zeros(2, dtype=np.int64)], 1, ("self",))
    with pytest.raises(ContractError, match="layer 0 must be seen at 1 steps, each once; got 0"):
        recorder.finish()
    with recorder.attached():
        layer.self_attn.watch(torch.ones(1, 1, 1, 1))
        with pytest.raises(ContractError, match="must be seen at 1 steps, each once; got 2"):
            layer.self_attn.watch(torch.ones(1, 1, 1, 2) / 2)


def test_attention_under_null_text_is_refused(sharp: MusicgenBackend):
    codes = sharp.generate(requests()[:1], Sampling(4), Capture()).codes
    with pytest.raises(UsageError, match="attention must be watched under a text"):
        sharp.teacher_force(codes, [None], Capture(attention=BOTH))
