"""Forks against generation, against whole passes by hand, and against their own batches."""

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from moodlens.backends import attention, requests
from moodlens.backends.forks import cache_bytes
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.musicgen.decode_loop import PreallocatedLayer
from moodlens.base.seeding import seed_for
from moodlens.contracts.backend import Branch, Capture, ClipRequest, Forked, ModelInfo, Sampling, Stem
from moodlens.organism.architecture import build_random, build_tokenizer
from tests.backends.musicgen.forks_by_hand import ByHand
from tests.tiny_model import TINY_SHAPE, tiny_codec

LONG = " ".join(["a very slow and very soft sad piece with a dark piano"] * 4)
TEXTS = ["a happy piano piece", "sad", LONG]
N_FRAMES, N_STEPS = 10, 13
KEYS = [seed_for("clip", i) for i in range(len(TEXTS))]
INFO = ModelInfo("three", "", "", 3, 32, 16, 4, 32, 50.0, 16_000, "float32", "cpu")


def small(padding: str = "mask", block_clips: int = 16) -> MusicgenBackend:
    """Return an untrained model of three layers whose text matters: untrained, it changes logits by 1e-4."""
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    model: Any = build_random(0, len(tokenizer), tiny_codec(), replace(TINY_SHAPE, n_layers=3))
    model.decoder.set_attn_implementation(attention.NAME)
    with torch.inference_mode():
        for name, weight in model.decoder.named_parameters():
            if "attn" in name and name.endswith("weight") and weight.dim() == 2:
                weight.mul_(8)
            elif "lm_heads" in name:
                weight.mul_(10)
        model.enc_to_dec_proj.weight.mul_(20)
    return MusicgenBackend(model, tokenizer, INFO, block_clips, padding)


@pytest.fixture(scope="module")
def backend() -> MusicgenBackend:
    return small()


def clips(backend: MusicgenBackend, sampling: Sampling) -> np.ndarray:
    asked = [ClipRequest(f"c{i}", f"p{i}", text, KEYS[i]) for i, text in enumerate(TEXTS)]
    return backend.generate(asked, sampling, Capture(sites=())).codes


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("packing", [False, True])
def test_under_its_own_text_and_noise_a_fork_is_the_clip(
    backend: MusicgenBackend, guidance_scale: float, packing: bool, monkeypatch: pytest.MonkeyPatch
):
    if packing:
        monkeypatch.setattr(requests, "PACKED_WIDTH", 1)
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=8)
    codes = clips(backend, sampling)
    stems = [Stem(codes[i], TEXTS[i], KEYS[i]) for i in range(len(TEXTS))]
    branches = [Branch(i, step, TEXTS[i]) for step in range(N_STEPS) for i in range(len(TEXTS))]
    made = backend.fork(stems, branches, sampling)
    assert np.array_equal(made.codes, np.concatenate([codes] * N_STEPS))
    named = backend.fork(stems, [Branch(0, 5, TEXTS[0], donor=0, layers=(1,))], sampling)
    assert np.array_equal(named.codes[0], codes[0])


CASES = [
    Branch(0, 6, TEXTS[1]),
    Branch(0, 6, None),
    Branch(3, 6, TEXTS[1]),
    Branch(2, 6, TEXTS[0]),
    Branch(0, 6, LONG),
    Branch(0, 6, None, 1),
    Branch(0, 6, TEXTS[0], 1, (1,)),
    Branch(0, 6, None, 1, (2,), (2, 5)),
    Branch(0, 6, None, 2, (1,)),
    Branch(2, 6, LONG, 0, None, (1, 6)),
    Branch(0, 0, TEXTS[1]),
    Branch(1, 1, None),
    Branch(1, 12, TEXTS[0]),
]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("padding", ["mask", "attend"])
def test_against_whole_passes_by_hand(guidance_scale: float, padding: str):
    backend = small(padding)
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=8, temperature=0.9)
    codes = clips(backend, sampling)[0]
    stems = [Stem(codes, text, seed_for("other", i)) for i, text in enumerate([*TEXTS, None])]
    made, hand = backend.fork(stems, CASES, sampling), ByHand(backend, stems, sampling)
    for i, branch in enumerate(CASES):
        wanted, nats_per_token = hand.fork(branch)
        assert np.array_equal(made.codes[i], wanted), branch
        np.testing.assert_allclose(made.nats_per_token[i], nats_per_token, rtol=1e-4, err_msg=str(branch))
        for k in range(4):
            kept = max(branch.step - k, 0)
            assert np.array_equal(made.codes[i, k, :kept], codes[k, :kept])
    assert made.codes.dtype == np.int16
    assert made.nats_per_token.dtype == np.float32


def same(made: Forked, one: int, other: int) -> bool:
    alike = np.array_equal(made.codes[one], made.codes[other])
    return alike and made.nats_per_token[one] == made.nats_per_token[other]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_cached_states_of_a_donor(backend: MusicgenBackend, guidance_scale: float):
    """Tokens, noise and text ahead are the same in all branches: only cached states differ."""
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=0)
    codes = clips(backend, sampling)
    stems = [Stem(codes[0], text, 5) for text in TEXTS]
    parts = [None, (), (0,), (1,), (2,), (0, 1, 2), (1, 2)]
    donated = [Branch(0, 6, None, 1, layers) for layers in parts]
    made = backend.fork(stems, [Branch(0, 6, None), Branch(1, 6, None), *donated], sampling)
    own, donor, everything, nothing, first, second, third, one_by_one, below_none = range(9)
    assert not np.array_equal(made.codes[own], made.codes[everything])
    assert len({made.nats_per_token[i] for i in (own, everything, second, third)}) == 4
    for one, other in [(everything, donor), (everything, one_by_one), (own, nothing)]:
        assert same(made, one, other)
    # the keys and values of layer 0 are computed before any text is read
    assert same(made, first, own)
    assert same(made, below_none, everything)


def test_a_window_of_the_prefix(backend: MusicgenBackend):
    sampling = Sampling(N_FRAMES, guidance_scale=1.0, top_k=0)
    codes = clips(backend, sampling)
    stems = [Stem(codes[0], text, 5) for text in TEXTS]
    parts = [
        (None, None),
        (None, (0, 6)),
        (None, (0, 3)),
        (None, (3, 6)),
        (None, (2, 2)),
        ((1,), None),
        ((1,), (0, 6)),
    ]
    made = backend.fork(
        stems, [Branch(0, 6, None), *(Branch(0, 6, None, 1, *part) for part in parts)], sampling
    )
    own, whole, same_whole, early, late, nothing, layer, same_layer = range(8)
    for one, other in [(whole, same_whole), (own, nothing), (layer, same_layer)]:
        assert same(made, one, other)
    assert len({made.nats_per_token[i] for i in (own, whole, early, late, layer)}) == 5


def test_copies_of_layers_and_windows_compose():
    torch.manual_seed(0)
    stem, branch = (filled_layer(4, 7) for _ in range(2))
    copy = stem.copied([2, 0, 2])
    assert (copy.n_filled, copy.n_steps) == (5, 7)
    assert torch.equal(copy.keys[:, :, :5], stem.keys[[2, 0, 2], :, :5])  # type: ignore[index]
    before = stem.values[:, :, :5].clone()  # type: ignore[index]
    one, two = branch.copied([0, 1]), branch.copied([0, 1])
    one.replace(1, stem, 3, (0, 5))
    two.replace(1, stem, 3, (0, 2))
    two.replace(1, stem, 3, (2, 5))
    for part, source, own in ((one.keys, stem.keys, branch.keys), (one.values, stem.values, branch.values)):
        assert torch.equal(part[1, :, :5], source[3, :, :5])  # type: ignore[index]
        assert torch.equal(part[0, :, :5], own[0, :, :5])  # type: ignore[index]
    assert torch.equal(one.keys[:, :, :5], two.keys[:, :, :5])  # type: ignore[index]
    assert torch.equal(stem.values[:, :, :5], before)  # type: ignore[index]
    assert not PreallocatedLayer(7).copied([0]).is_initialized


def filled_layer(rows: int, n_steps: int) -> PreallocatedLayer:
    layer = PreallocatedLayer(n_steps)
    layer.update(torch.randn(rows, 2, 5, 3), torch.randn(rows, 2, 5, 3))
    return layer


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_branch_is_the_same_in_any_call_and_order(backend: MusicgenBackend, guidance_scale: float):
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=8)
    codes = clips(backend, sampling)
    under = [*TEXTS, None]
    stems = [Stem(tokens, text, i) for i, tokens in enumerate(codes) for text in under]
    choose = np.random.default_rng(0)
    branches = []
    for i in range(16):
        tokens, own, other = 4 * choose.integers(3), *choose.permutation(4)[:2]
        layers, window = [(None, None), ((1 + i // 8,), None), (None, (0, 1))][i % 3]
        donor = (tokens + other, layers, window) if i % 4 else ()
        branches.append(Branch(tokens + own, 2 + 5 * (i // 8), under[choose.integers(4)], *donor))
    whole = backend.fork(stems, branches, sampling)
    assert len({codes.tobytes() for codes in whole.codes}) > 12
    for order in (list(range(16)), list(range(15, -1, -1))):
        for size in (1, 5, 16):
            for at in range(0, 16, size):
                part = order[at : at + size]
                made = backend.fork(stems, [branches[i] for i in part], sampling)
                assert np.array_equal(made.codes, whole.codes[part])
                assert np.array_equal(made.nats_per_token, whole.nats_per_token[part])


def test_null_text_ahead_is_silent_in_cross_attention_from_the_fork_on(backend: MusicgenBackend):
    sampling = Sampling(N_FRAMES, guidance_scale=1.0)
    stems = [Stem(clips(backend, sampling)[0], TEXTS[0], 5)]
    outputs: list[float] = []
    modules = [layer.encoder_attn for layer in backend.layers]  # type: ignore[attr-defined]
    handles = [
        module.register_forward_hook(lambda _m, _a, output: outputs.append(float(output[0].abs().max())))
        for module in modules
    ]
    backend.fork(stems, [Branch(0, 4, None)], sampling)
    for handle in handles:
        handle.remove()
    by_step = np.reshape(outputs, (N_STEPS, len(modules)))  # 4 of the stem, then those of the branch
    assert (by_step[:4] > 0).all()
    assert (by_step[4:] == 0).all()


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_no_more_than_two_blocks_of_cached_states_exist(
    guidance_scale: float, monkeypatch: pytest.MonkeyPatch
):
    backend = small(block_clips=2)
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale)
    codes = clips(backend, sampling)
    stems = [Stem(tokens, text, 5) for tokens in codes for text in TEXTS]
    branches = [Branch(i, step, None) for i in range(9) for step in (0, 3, 7, 12)]
    layers: weakref.WeakSet[PreallocatedLayer] = weakref.WeakSet()
    peaks: list[int] = []
    allocate = PreallocatedLayer.lazy_initialization

    def counted(self: PreallocatedLayer, keys: torch.Tensor, values: torch.Tensor) -> None:
        allocate(self, keys, values)
        layers.add(self)
        peaks.append(
            sum(part.nbytes for layer in layers for part in (layer.keys, layer.values) if part is not None)
        )

    monkeypatch.setattr(PreallocatedLayer, "lazy_initialization", counted)
    backend.fork(stems, branches, sampling)
    n_rows = 2 if guidance_scale == 1 else 4
    assert max(peaks) == cache_bytes(backend.info.n_layers, backend.info.d_model, n_rows, N_STEPS, 4)


@pytest.mark.parametrize("block_clips", [1, 2, 3])
def test_small_blocks_split_a_group_of_donors(block_clips: int):
    backend = small(block_clips=block_clips)
    sampling = Sampling(N_FRAMES, top_k=8)
    codes = clips(backend, sampling)
    under = [TEXTS[0], TEXTS[1], "calm", None]
    stems = [Stem(codes[0], text, 5) for text in under]
    pairs = [(own, other) for own in range(4) for other in range(4)]
    made = backend.fork(stems, [Branch(own, 6, None, other, (1,)) for own, other in pairs], sampling)
    hand = ByHand(backend, stems, sampling)
    for i, (own, other) in enumerate(pairs):
        assert np.array_equal(made.codes[i], hand.fork(Branch(own, 6, None, other, (1,)))[0])
    again = backend.fork([Stem(codes[0], TEXTS[0], KEYS[0])], [Branch(0, 6, TEXTS[0])], sampling)
    assert np.array_equal(again.codes[0], codes[0])
