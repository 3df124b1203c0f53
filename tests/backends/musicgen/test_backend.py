"""The backend against transformers' own generate, against teacher forcing, and against its own batches."""

from unittest.mock import patch

import numpy as np
import pytest
import torch

from moodlens.backends import attention
from moodlens.backends.hooks import Recorder
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.errors import ContractError, UsageError
from moodlens.base.seeding import seed_for
from moodlens.contracts.backend import Capture, ClipRequest, Sampling

LAYER_SITES = ("residual", "self_attention", "cross_attention", "mlp")
ALL_SITES = (*LAYER_SITES, "embedding", "final_norm", "logits")
LONG = (
    "a very slow and very soft sad piece with a dark piano in minor and a bass and a pad and strings at dusk"
)
TEXTS = ["a happy piano piece", "sad", "a calm and slow guitar", LONG]
N_FRAMES = 20


def requests(texts: list[str]) -> list[ClipRequest]:
    return [ClipRequest(f"c{i}", f"p{i}", text, seed_for("clip", i)) for i, text in enumerate(texts)]


def transformers_greedy(backend: MusicgenBackend, texts: list[str], guidance_scale: float) -> np.ndarray:
    """Return the tokens that `generate` hands to the codec."""
    model, seen = backend._model, []
    codec = model.audio_encoder
    decode = codec.decode

    def spy(codes, *args, **kwargs):
        seen.append(codes)
        return decode(codes, *args, **kwargs)

    model.decoder.set_attn_implementation("sdpa")
    inputs = backend._tokenizer(texts, padding=True, return_tensors="pt")
    length = N_FRAMES + backend.info.n_codebooks
    with patch.object(codec, "decode", spy):
        model.generate(**inputs, do_sample=False, guidance_scale=guidance_scale, max_length=length)
    model.decoder.set_attn_implementation(attention.NAME)
    return seen[0][0].numpy()


@pytest.mark.parametrize("guidance_scale", [3.0, 1.0])
def test_greedy_tokens_equal_those_of_transformers(backend: MusicgenBackend, guidance_scale: float):
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, temperature=0)
    ours = backend.generate(requests(TEXTS), sampling, Capture()).codes
    assert np.array_equal(ours, transformers_greedy(backend, TEXTS, guidance_scale))
    assert len(np.unique(ours)) > 4  # not one token for ever


def test_states_of_generation_equal_a_teacher_forced_pass(backend: MusicgenBackend):
    capture = Capture(sites=ALL_SITES, half="both")
    made = backend.generate(requests(TEXTS), Sampling(N_FRAMES), capture)
    forced = backend.teacher_force(made.codes, TEXTS, capture)
    assert set(made.states.values) == set(forced.values)
    assert len(made.states.values) == 2 * len(backend.hookpoints())
    for key, states in made.states.values.items():
        width = 4 * 32 if key.startswith("logits") else backend.info.d_model
        assert states.shape == (len(TEXTS), N_FRAMES + 3, width)
        np.testing.assert_allclose(states, forced.values[key], atol=1e-4, err_msg=key)


def test_null_text_is_the_uncond_half_and_its_cross_attention_is_zero(backend: MusicgenBackend):
    capture = Capture(sites=("residual", "cross_attention"), half="uncond")
    made = backend.generate(requests(TEXTS), Sampling(N_FRAMES), capture)
    null = backend.teacher_force(made.codes, [None] * len(TEXTS), Capture(capture.sites))
    for key, states in made.states.values.items():
        np.testing.assert_allclose(states, null.values[key.replace("uncond", "cond")], atol=1e-4)
    assert not made.states.values["cross_attention.0/uncond"].any()
    assert made.states.values["residual.0/uncond"].any()


def test_other_text_gives_other_states(backend: MusicgenBackend):
    codes = backend.generate(requests(TEXTS), Sampling(N_FRAMES), Capture()).codes
    own = backend.teacher_force(codes, TEXTS, Capture()).values["residual.1/cond"]
    swapped = backend.teacher_force(codes, TEXTS[::-1], Capture()).values["residual.1/cond"]
    assert np.abs(own - swapped).max() > 1e-4


def test_guidance_off_records_the_null_half_on_request_and_the_same_tokens(backend: MusicgenBackend):
    sampling = Sampling(N_FRAMES, guidance_scale=1.0)
    cond_only = backend.generate(requests(TEXTS), sampling, Capture())
    both = backend.generate(requests(TEXTS), sampling, Capture(half="both"))
    assert np.array_equal(cond_only.codes, both.codes)
    assert set(both.states.values) == {
        f"residual.{layer}/{half}" for layer in range(2) for half in ("cond", "uncond")
    }


@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_clip_is_the_same_in_any_batch_and_order(backend: MusicgenBackend, size: int):
    texts = [f"{TEXTS[i % 4]} {'soft ' * (i % 5)}".strip() for i in range(16)]
    requested = requests(texts)
    whole = backend.generate(requested, Sampling(8), Capture())
    for order in (list(range(16)), list(range(15, -1, -1))):
        for at in range(0, 16, size):
            part = order[at : at + size]
            made = backend.generate([requested[i] for i in part], Sampling(8), Capture())
            assert np.array_equal(made.codes, whole.codes[part])
            for key, states in made.states.values.items():
                assert np.array_equal(states, whole.states.values[key][part]), key


def test_more_clips_than_a_block_holds(backend: MusicgenBackend):
    requested = requests([TEXTS[i % 3] for i in range(18)])
    made = backend.generate(requested, Sampling(4), Capture())
    last = backend.generate(requested[17:], Sampling(4), Capture())
    assert np.array_equal(made.codes[17], last.codes[0])
    assert len({codes.tobytes() for codes in made.codes}) == 18


def test_a_longer_clip_starts_as_the_shorter_one(backend: MusicgenBackend):
    short = backend.generate(requests(TEXTS), Sampling(6), Capture()).codes
    longer = backend.generate(requests(TEXTS), Sampling(12), Capture()).codes
    assert np.array_equal(longer[:, :, :3], short[:, :, :3])  # then the closing pads of the short one begin
    assert np.array_equal(longer[:, 0, :6], short[:, 0])


def test_a_hook_that_overwrites_is_refused(backend: MusicgenBackend, monkeypatch: pytest.MonkeyPatch):
    def overwrite(self: Recorder, name: str, states: torch.Tensor) -> None:
        self.counts[name] = 1

    monkeypatch.setattr(Recorder, "append", overwrite)
    with pytest.raises(ContractError, match=r"hookpoint residual\.0 must record 23 steps, each once; got 1"):
        backend.generate(requests(TEXTS), Sampling(N_FRAMES), Capture())


def test_a_module_that_fires_twice_is_refused():
    module = torch.nn.Linear(3, 2)
    recorder = Recorder({"mlp.0": module}, {"cond": slice(0, 1)}, 1)
    with recorder.attached(), torch.inference_mode():
        module(torch.zeros(1, 1, 3))
        with pytest.raises(ContractError, match=r"mlp\.0 must record 1 steps, each once; got 2"):
            module(torch.zeros(1, 1, 3))


def test_hooks_are_gone_after_a_run(backend: MusicgenBackend):
    backend.generate(requests(TEXTS), Sampling(4), Capture(sites=ALL_SITES))
    assert all(not module._forward_hooks for module in backend._model.modules())


def test_layers_are_chosen(backend: MusicgenBackend):
    made = backend.generate(requests(TEXTS[:1]), Sampling(4), Capture(("mlp",), (1,)))
    assert list(made.states.values) == ["mlp.1/cond"]


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        (Capture(layers=(2,)), r"generate\.layers must lie in 0\.\.1 for this model; got 2"),
        (Capture(sites=("residuals",)), "Did you mean 'residual'"),
        (Capture(half="null"), "generate.half must be cond, uncond or both; got 'null'"),
    ],
)
def test_a_capture_the_model_cannot_give_is_refused(backend: MusicgenBackend, capture: Capture, message: str):
    with pytest.raises(UsageError, match=message):
        backend.generate(requests(TEXTS[:1]), Sampling(4), capture)


def test_nothing_to_generate_and_tokens_outside_the_codebook_are_refused(backend: MusicgenBackend):
    with pytest.raises(UsageError, match="ask for clips and frames"):
        backend.generate([], Sampling(4), Capture())
    outside = np.full((1, 4, 5), backend.info.codebook_size, dtype=np.int16)
    with pytest.raises(UsageError, match=r"codes must lie in 0\.\.31; got '32\.\.32'"):
        backend.teacher_force(outside, [None], Capture())
    with pytest.raises(UsageError, match="Give one text per clip"):
        backend.teacher_force(outside, [None, None], Capture())
    with pytest.raises(UsageError, match="a prompt must hold words"):
        backend.encode_text(["  "])


def test_a_text_is_encoded_as_if_alone(backend: MusicgenBackend):
    together = backend.encode_text(TEXTS)
    for text, encoded in zip(TEXTS, together, strict=True):
        alone = backend.encode_text([text])[0]
        assert np.array_equal(alone.hidden, encoded.hidden)
        assert encoded.hidden.shape == (len(encoded.tokens), backend.info.d_text)
        assert encoded.projected.shape == (len(encoded.tokens), backend.info.d_model)
        assert encoded.tokens[-1] == "</s>"


def test_decoding_is_the_codec_one_clip_at_a_time(backend: MusicgenBackend):
    codes = backend.generate(requests(TEXTS), Sampling(N_FRAMES), Capture()).codes
    audio = backend.decode(codes)
    assert audio.shape == (len(TEXTS), N_FRAMES * 320)
    assert audio.dtype == np.float32
    with torch.inference_mode():
        batch = backend._model.audio_encoder.decode(torch.from_numpy(codes.astype(np.int64))[None], [None])
    np.testing.assert_allclose(audio, batch.audio_values[:, 0].numpy(), atol=1e-5)
    assert np.array_equal(audio[1:2], backend.decode(codes[1:2]))


def test_random_twin_shares_codec_and_tokenizer_and_nothing_else(backend: MusicgenBackend):
    state = torch.random.get_rng_state()
    twin, again, other = backend.random_twin(0), backend.random_twin(0), backend.random_twin(1)
    assert torch.equal(state, torch.random.get_rng_state())
    codes = backend.generate(requests(TEXTS), Sampling(N_FRAMES), Capture()).codes
    assert np.array_equal(twin.decode(codes), backend.decode(codes))
    states = [
        model.teacher_force(codes, TEXTS, Capture()).values["residual.1/cond"]
        for model in (backend, twin, again, other)
    ]
    assert np.array_equal(states[1], states[2])
    assert np.abs(states[0] - states[1]).max() > 0.01
    assert np.abs(states[1] - states[3]).max() > 0.01
    assert len({model.info.weights_sha256 for model in (backend, twin, other)}) == 3
    hidden = [model.encode_text(TEXTS[:1])[0].hidden for model in (backend, twin)]
    assert np.abs(hidden[0] - hidden[1]).max() > 0.01
