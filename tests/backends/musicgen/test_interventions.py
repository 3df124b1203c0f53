"""Interventions while tokens are drawn: against clips without any, and against whole passes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Branch, Capture, Sampling, Stem
from moodlens.contracts.interventions import Donor, Intervention, Latent, Reading
from moodlens.params.pipeline import Model
from tests.backends.musicgen.test_fork import KEYS, LONG, N_FRAMES, N_STEPS, TEXTS, clips, small

EVERY = Capture(("residual", "cross_attention", "logits"))
RNG = np.random.default_rng(0)
VECTOR = 3 * RNG.normal(size=(1, 32))
BASIS = np.linalg.qr(RNG.normal(size=(32, 2)))[0].T
LAST = "residual.2"


def exchange(hookpoint: str, text: str | None, **fields) -> Intervention:
    return Intervention(hookpoint, "exchange", donor=Donor(text), **fields)


@pytest.fixture(scope="module")
def backend() -> MusicgenBackend:
    return small()


def stems_of(codes: np.ndarray) -> list[Stem]:
    return [Stem(codes[i], TEXTS[i], KEYS[i]) for i in range(len(TEXTS))]


NOTHING = [
    Intervention("residual.1", "add", coefficient=0.0, vectors=VECTOR),
    Intervention("residual.1", "add", "both", decay=0.0, steps=(9, 12), coefficient=0.0, vectors=VECTOR),
    exchange("residual.1", TEXTS[1], coefficient=0.0),
    exchange("residual.0", TEXTS[0]),
    exchange("cross_attention.2", TEXTS[0]),
    Intervention("cross_attention.1", "project_out", coefficient=0.0, vectors=BASIS),
]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("step", [0, 5])
def test_a_dose_of_zero_and_ones_own_states_change_no_bit(
    backend: MusicgenBackend, guidance_scale: float, step: int
):
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=8)
    codes = clips(backend, sampling)
    edits = [e if guidance_scale != 1 or e.half == "cond" else replace(e, half="cond") for e in NOTHING]
    branches = [Branch(0, step, TEXTS[0], edits=(edit,)) for edit in edits]
    branches.append(Branch(0, step, TEXTS[0], edits=tuple(edits)))
    made = backend.fork(stems_of(codes), [Branch(0, step, TEXTS[0]), *branches], sampling)
    assert (made.codes == codes[0]).all()
    assert len(set(made.nats_per_token.tolist())) == 1


@pytest.mark.parametrize("step", [0, 5])
@pytest.mark.parametrize("other", [TEXTS[1], None])
def test_the_last_layer_of_another_text_is_that_text(backend: MusicgenBackend, step: int, other: str | None):
    """The prefix and its cached states are that text's too, so nothing of the own text is left."""
    sampling = Sampling(N_FRAMES, guidance_scale=1.0, top_k=8)
    codes = clips(backend, sampling)
    stems = [Stem(codes[0], text, KEYS[0]) for text in (TEXTS[0], other)]
    branches = [
        Branch(0, step, TEXTS[0]),
        Branch(0, step, TEXTS[0], edits=(exchange(LAST, other),)),
        Branch(1, step, other),
    ]
    own, exchanged, wanted = backend.fork(stems, branches, sampling).codes
    assert np.array_equal(exchanged, wanted)
    assert not np.array_equal(exchanged, own)


CASES = [
    (Intervention("residual.0", "add", vectors=VECTOR),),
    (Intervention("residual.1", "add", steps=(4, 9), decay=0.7, coefficient=2.0, vectors=VECTOR),),
    (Intervention("cross_attention.1", "project_out", vectors=BASIS),),
    (Intervention("mlp.1", "replace", vectors=VECTOR),),
    (Intervention("residual.1", "clamp", coefficient=4.0, latent=Latent(VECTOR[0], 0.1, BASIS[0])),),
    (exchange("residual.1", TEXTS[1]),),
    (exchange("cross_attention.1", None, steps=(6, 11)),),
    (exchange("residual.0", TEXTS[1], vectors=BASIS, outside=True), exchange("cross_attention.2", None)),
]


@pytest.mark.parametrize("edits", CASES)
def test_the_cache_holds_what_the_interventions_leave(
    backend: MusicgenBackend, edits: tuple[Intervention, ...]
):
    """Greedy tokens are the likeliest of a whole pass, without a cache, under the same interventions."""
    sampling = Sampling(N_FRAMES, guidance_scale=1.0, temperature=0)
    stem = Stem(np.zeros((4, N_FRAMES), dtype=np.int16), TEXTS[0], 1)
    plain, made = backend.fork(
        [stem], [Branch(0, 0, TEXTS[0]), Branch(0, 0, TEXTS[0], edits=edits)], sampling
    ).codes
    assert not np.array_equal(plain, made)
    logits = backend.teacher_force(made[None], [TEXTS[0]], EVERY, [edits]).values["logits.0/cond"]
    likeliest = logits.reshape(N_STEPS, 4, -1).argmax(-1)
    for k in range(4):
        assert np.array_equal(made[k], likeliest[k : k + N_FRAMES, k])


def test_an_exchange_takes_the_states_of_the_same_tokens_under_the_other_text(backend: MusicgenBackend):
    codes = clips(backend, Sampling(N_FRAMES, guidance_scale=1.0, top_k=8))[:1]
    donor = backend.teacher_force(codes, [TEXTS[1]], EVERY).values
    edit = exchange("residual.1", TEXTS[1], steps=(3, 8))
    changed = backend.teacher_force(codes, TEXTS[:1], EVERY, [[edit]]).values["residual.1/cond"][0]
    own = backend.teacher_force(codes, TEXTS[:1], EVERY).values["residual.1/cond"][0]
    inside = np.isin(np.arange(N_STEPS), np.arange(3, 8))
    np.testing.assert_allclose(changed[inside], donor["residual.1/cond"][0, inside], atol=1e-5)
    np.testing.assert_allclose(changed[~inside], own[~inside], atol=1e-5)


def test_a_donor_with_tokens_of_its_own(backend: MusicgenBackend):
    sampling = Sampling(N_FRAMES, guidance_scale=1.0, temperature=0)
    codes = clips(backend, replace(sampling, temperature=1.0))
    other = backend.teacher_force(codes[2:], [TEXTS[1]], EVERY).values["residual.1/cond"][0]
    for step in (0, 5):
        given = Intervention("residual.1", "exchange", steps=(step, 11), donor=Donor(TEXTS[1], codes[2]))
        by_hand = Intervention("residual.1", "replace", steps=(step, 11), vectors=other[step:11])
        both = [
            Branch(0, step, TEXTS[0], edits=(edit,))
            for edit in (given, by_hand, replace(given, coefficient=0))
        ]
        exchanged, replaced, own = backend.fork(stems_of(codes), both, sampling).codes
        assert np.array_equal(exchanged, replaced)
        assert not np.array_equal(exchanged, own)


def test_the_unconditional_half_is_changed_alone(backend: MusicgenBackend):
    """uncond + 3 (cond - uncond): a push of the null half pushes the result the other way."""
    sampling = Sampling(N_FRAMES, guidance_scale=3.0, temperature=0)
    stem = Stem(np.zeros((4, N_FRAMES), dtype=np.int16), TEXTS[0], 1)
    edit = Intervention("residual.1", "add", vectors=VECTOR)
    halves = ("cond", "uncond", "both")
    made = backend.fork(
        [stem], [Branch(0, 0, TEXTS[0], edits=(replace(edit, half=half),)) for half in halves], sampling
    ).codes
    assert len({codes.tobytes() for codes in made}) == 3
    with pytest.raises(UsageError, match=r"must name a half that is run \(cond\); got 'uncond'"):
        backend.fork(
            [stem],
            [Branch(0, 0, None, edits=(replace(edit, half="uncond"),))],
            replace(sampling, guidance_scale=1),
        )


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_an_edited_branch_is_the_same_in_any_call_and_order(guidance_scale: float):
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=8)
    codes = clips(small(), sampling)
    branches = [
        Branch(i % 3, 4 * (i % 2), [*TEXTS, None][i % 4], edits=CASES[i % len(CASES)] if i % 5 else ())
        for i in range(16)
    ]
    stems = stems_of(codes)
    for block_clips in (1, 5, 16):
        backend = small(block_clips=block_clips)
        whole = backend.fork(stems, branches, sampling)
        order = list(range(15, -1, -1))
        for at in range(0, 16, 6):
            part = order[at : at + 6]
            made = backend.fork(stems, [branches[i] for i in part], sampling)
            assert np.array_equal(made.codes, whole.codes[part])
            assert np.array_equal(made.nats_per_token, whole.nats_per_token[part])


def test_a_fork_edits_no_step_before_it(backend: MusicgenBackend):
    sampling = Sampling(N_FRAMES, guidance_scale=1.0)
    codes = clips(backend, sampling)
    edit = Intervention("residual.1", "add", steps=(4, 9), vectors=VECTOR)
    with pytest.raises(UsageError, match=r"must name steps with 5 <= first < stop <= 13; got \(4, 9\)"):
        backend.fork(stems_of(codes), [Branch(0, 5, None, edits=(edit,))], sampling)


def test_scores_are_those_of_the_logits(backend: MusicgenBackend):
    codes = clips(backend, Sampling(N_FRAMES, guidance_scale=1.0, top_k=8))
    readings = [
        Reading(codes[0], TEXTS[0]),
        Reading(codes[0], LONG),
        Reading(codes[0], None),
        *(Reading(codes[0], TEXTS[0], edits) for edits in CASES),
        Reading(codes[1], TEXTS[0], CASES[5]),
    ]
    nats = backend.score(readings)
    assert (nats.shape, nats.dtype) == ((len(readings), 4, N_FRAMES), np.float32)
    for reading, found in zip(readings, nats, strict=True):
        forced = backend.teacher_force(reading.codes[None], [reading.text], EVERY, [reading.edits])
        logits = forced.values["logits.0/cond"][0].astype(np.float64).reshape(N_STEPS, 4, -1)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for k in range(4):
            wanted = [-log_p[frame + k, k, reading.codes[k, frame]] for frame in range(N_FRAMES)]
            np.testing.assert_allclose(found[k], wanted, atol=1e-4)


def test_an_exchange_of_what_a_cut_layer_reads_moves_nothing():
    """The shipped weights that remember, their text path cut in the first layers: the planted negative."""
    root = Path(__file__).parents[3]
    backend = catalog.load(Model(catalog.CUT, "", "float32", "cpu"), root)
    codes = np.random.default_rng(0).integers(0, 256, size=(4, 60)).astype(np.int16)
    text, other = "a happy piano piece", "a sad piano piece"
    layers = range(backend.info.n_layers)
    swaps = [Reading(codes, text, (exchange(f"cross_attention.{layer}", other),)) for layer in layers]
    own, swapped, *moved = backend.score([Reading(codes, text), Reading(codes, other), *swaps])
    assert np.abs(own - swapped).max() > 0.01
    still = [np.array_equal(nats, own) for nats in moved]
    assert still == [layer < catalog.CUT_LAYERS for layer in layers]


def test_scores_need_clips_of_one_length(backend: MusicgenBackend):
    codes = np.zeros((4, N_FRAMES), dtype=np.int16)
    with pytest.raises(UsageError, match="must be of one length"):
        backend.score([Reading(codes, "a"), Reading(codes[:, :5], "a")])
    with pytest.raises(UsageError, match="must be of one length"):
        backend.score([])
