"""The same interventions in audiocraft and on the transformers weights: tokens, states, likelihoods."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Branch, Capture, Sampling, Stem
from moodlens.contracts.interventions import Donor, Intervention, Latent, Reading
from tests.backends.audiocraft.test_backend import ATOL, N_FRAMES, TEXTS, loaded, requests
from tests.tiny_audiocraft import give_melody_parts, save_tiny_audiocraft

RNG = np.random.default_rng(0)
VECTOR = RNG.normal(size=(1, 32))
BASIS = np.linalg.qr(RNG.normal(size=(32, 2)))[0].T
OTHER = RNG.integers(0, 32, size=(4, N_FRAMES)).astype(np.int16)
EXCHANGE = Intervention("residual.1", "exchange", donor=Donor(TEXTS[1]))
CASES = [
    (Intervention("residual.0", "add", "both", decay=0.9, coefficient=2.0, vectors=VECTOR),),
    (Intervention("cross_attention.1", "replace", vectors=VECTOR),),
    (Intervention("residual.2", "clamp", coefficient=3.0, latent=Latent(VECTOR[0], 0.1, BASIS[0])),),
    (EXCHANGE,),
    (replace(EXCHANGE, hookpoint="cross_attention.2", steps=(8, 15), donor=Donor(None)),),
    (replace(EXCHANGE, donor=Donor(TEXTS[0], OTHER)),),
    (
        replace(EXCHANGE, hookpoint="residual.0", vectors=BASIS),
        replace(EXCHANGE, vectors=BASIS, outside=True),
    ),
]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_interventions_give_the_same_tokens(
    audiocraft_folder: Path, converted_folder: Path, guidance_scale: float
):
    theirs, ours = loaded(Path(f"audiocraft:{audiocraft_folder}")), loaded(converted_folder)
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale, top_k=8)
    codes = theirs.generate(requests(TEXTS), sampling, Capture(sites=())).codes
    stems = [Stem(codes[0], TEXTS[0], 7)]
    for case in CASES:
        edits = case if guidance_scale != 1 else tuple(replace(edit, half="cond") for edit in case)
        branches = [Branch(0, step, TEXTS[0], edits=edits) for step in (0, 8)]
        for drawn in (sampling, replace(sampling, temperature=0)):
            made, wanted = (model.fork(stems, branches, drawn) for model in (theirs, ours))
            assert np.array_equal(made.codes, wanted.codes)
            np.testing.assert_allclose(made.nats_per_token, wanted.nats_per_token, atol=ATOL)
            assert not np.array_equal(made.codes[0], codes[0])
    nothing = [Branch(0, step, TEXTS[0], edits=(replace(EXCHANGE, coefficient=0),)) for step in (0, 8)]
    same = [Branch(0, step, TEXTS[0], edits=(replace(EXCHANGE, donor=Donor(TEXTS[0])),)) for step in (0, 8)]
    assert (theirs.fork(stems, [*nothing, *same], sampling).codes == codes[0]).all()


def test_interventions_give_the_same_states_and_likelihoods(audiocraft_folder: Path, converted_folder: Path):
    theirs, ours = loaded(Path(f"audiocraft:{audiocraft_folder}")), loaded(converted_folder)
    capture = Capture(("residual", "cross_attention"), half="both")
    codes = OTHER[None, :, ::-1].copy()
    plain = theirs.score([Reading(codes[0], TEXTS[0])])[0]
    for edits in CASES:
        made, wanted = (model.teacher_force(codes, TEXTS[:1], capture, [edits]) for model in (theirs, ours))
        for key, states in wanted.values.items():
            np.testing.assert_allclose(made.values[key], states, atol=ATOL, err_msg=key)
        alone = tuple(replace(edit, half="cond") for edit in edits)
        reading = [Reading(codes[0], TEXTS[0], alone)]
        scored, right = (model.score(reading)[0] for model in (theirs, ours))
        np.testing.assert_allclose(scored, right, atol=ATOL)
        assert np.abs(scored - plain).max() > 10 * ATOL


def test_a_model_that_prepends_its_text_exchanges_no_states(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    give_melody_parts(monkeypatch)
    melody = save_tiny_audiocraft(tmp_path / "melody", tiny_t5, "melody", seed=1)
    add = Intervention("residual.0", "add", vectors=VECTOR)
    scored = []
    for folder in (Path(f"audiocraft:{melody}"), melody):
        backend = loaded(folder)
        with pytest.raises(UsageError, match="must read its text through cross-attention"):
            backend.score([Reading(OTHER, TEXTS[0], (EXCHANGE,))])
        scored.append(backend.score([Reading(OTHER, TEXTS[0]), Reading(OTHER, TEXTS[0], (add,))]))
    np.testing.assert_allclose(scored[0], scored[1], atol=ATOL)
    assert np.abs(scored[0][0] - scored[0][1]).max() > 10 * ATOL
