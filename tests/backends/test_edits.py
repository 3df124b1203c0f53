"""Interventions: their formulas, no bit changed by none, downstream states only, faults refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moodlens.backends.edits import edited
from moodlens.backends.interventions import Job
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.axes import HALVES
from moodlens.base.errors import ContractError, UsageError
from moodlens.contracts.backend import Capture
from moodlens.contracts.interventions import Donor, Intervention, Latent

TEXTS = ["a happy piano piece", "sad"]
CODES = np.random.default_rng(0).integers(0, 32, size=(2, 4, 12)).astype(np.int16)
EVERY = Capture(("residual", "self_attention", "mlp", "embedding", "final_norm", "logits"), half="both")
ADD = Intervention("residual.0", "add", vectors=np.ones((1, 32)))
WIDTH = 5


@pytest.mark.parametrize(
    "name", ["embedding.0", "residual.0", "residual.1", "self_attention.1", "final_norm.0"]
)
def test_replacing_states_by_themselves_changes_nothing_bit_for_bit(backend: MusicgenBackend, name: str):
    before = backend.teacher_force(CODES, TEXTS, EVERY).values
    edits = [
        [Intervention(name, "replace", half, vectors=before[f"{name}/{half}"][clip]) for half in HALVES]
        for clip in range(2)
    ]
    after = backend.teacher_force(CODES, TEXTS, EVERY, edits).values
    assert all(np.array_equal(states, after[key]) for key, states in before.items())


def test_an_intervention_moves_its_half_from_its_step_on_and_nothing_else(backend: MusicgenBackend):
    before = backend.teacher_force(CODES, TEXTS, EVERY).values
    edit = Intervention("residual.0", "replace", steps=(5, 7), vectors=np.ones((1, 32)))
    after = backend.teacher_force(CODES, TEXTS, EVERY, [[edit], [edit]]).values
    assert (after["residual.0/cond"][:, 5:7] == 1).all()
    for key in ("residual.1/cond", "logits.0/cond"):
        moved = np.abs(after[key] - before[key]).max(axis=2)
        assert (moved[:, :5] == 0).all()  # causal: no step before the intervention
        assert (moved[:, 5:] > 0).all()
    for key, states in before.items():
        if key.endswith("/uncond"):
            assert np.array_equal(states, after[key])


def test_hooks_are_gone_after_an_intervention(backend: MusicgenBackend):
    backend.teacher_force(CODES, TEXTS, Capture(), [[ADD], [ADD]])
    assert all(not module._forward_hooks for module in backend._model.modules())


@pytest.mark.parametrize("clip", [0, 1])
def test_every_operation_is_its_formula(clip: int):
    rng = np.random.default_rng(clip)
    x, d, v, c = rng.normal(size=(4, WIDTH))
    basis = np.linalg.qr(rng.normal(size=(WIDTH, 2)))[0].T
    inside = lambda y: basis.T @ (basis @ y)  # noqa: E731
    latent = Latent(rng.normal(size=WIDTH), 0.3, rng.normal(size=WIDTH))
    donor = Donor("b")
    cases = [
        (Intervention("m.0", "add", coefficient=-2, vectors=v[None]), x - 2 * v),
        (Intervention("m.0", "exchange", donor=donor), d),
        (Intervention("m.0", "exchange", donor=donor, coefficient=0.5), (x + d) / 2),
        (Intervention("m.0", "exchange", donor=donor, vectors=basis), x + inside(d - x)),
        (
            Intervention("m.0", "exchange", donor=donor, vectors=basis, outside=True),
            d - inside(d) + inside(x),
        ),
        (Intervention("m.0", "replace", vectors=v[None]), v),
        (Intervention("m.0", "project_out", vectors=basis), x - inside(x)),
        (Intervention("m.0", "project_out", vectors=basis, centre=c), x - inside(x - c)),
        (
            Intervention("m.0", "clamp", coefficient=3, latent=latent),
            x + (3 - max(0, latent.encoder @ x + 0.3)) * latent.decoder,
        ),
    ]
    states = torch.from_numpy(np.stack([np.stack([x] * len(cases) + [d])] * 2, axis=1)).float()
    module = torch.nn.Identity()
    jobs = [Job(row, edit, len(cases)) for row, (edit, _) in enumerate(cases)]
    with edited({"m.0": module}, jobs, 2):
        changed = module(states).numpy()
    for row, (_, expected) in enumerate(cases):
        np.testing.assert_allclose(changed[row, 1], expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(changed[-1], states[-1].numpy())


def test_a_coefficient_decays_from_the_first_step_of_its_window():
    edit = Intervention("m.0", "add", steps=(1, 4), coefficient=2, decay=0.5, vectors=np.ones((1, WIDTH)))
    module = torch.nn.Identity()
    with edited({"m.0": module}, [Job(1, edit)], 5):
        steps = [module(torch.zeros(2, 1, WIDTH)) for _ in range(5)]
    assert torch.cat(steps, dim=1)[:, :, 0].tolist() == [[0] * 5, [0, 2, 1, 0.5, 0]]


def test_interventions_of_one_row_are_applied_in_their_order():
    basis = np.eye(WIDTH)[:1]
    add = Intervention("m.0", "add", vectors=np.ones((1, WIDTH)))
    out = Intervention("m.0", "project_out", vectors=basis)
    module = torch.nn.Identity()
    with edited({"m.0": module}, [Job(0, add), Job(0, out), Job(1, out), Job(1, add)], 1):
        changed = module(torch.zeros(2, 1, WIDTH))
    assert changed[:, 0, :2].tolist() == [[0, 1], [1, 1]]


def test_given_values_belong_to_the_steps_of_their_window_step_by_step_too():
    values = np.arange(4, dtype=np.float32).reshape(2, 2)
    edit = Intervention("m.0", "replace", steps=(1, 3), vectors=values)
    states = torch.full((2, 4, 2), -1.0)
    whole, single = torch.nn.Identity(), torch.nn.Identity()
    with edited({"m.0": whole}, [Job(0, edit)], 4):
        at_once = whole(states)
    with edited({"m.0": single}, [Job(0, edit)], 4):
        one_by_one = torch.cat([single(states[:, i : i + 1]) for i in range(4)], dim=1)
    assert at_once[0, :, 0].tolist() == [-1, 0, 2, -1]
    assert torch.equal(at_once, one_by_one)
    assert (states == -1).all()  # the module's own output is left alone


def test_a_weight_of_zero_keeps_every_bit():
    states = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, WIDTH))).float()
    states[0, 0, 0] = -0.0
    edits = [
        Intervention("m.0", "add", coefficient=0, vectors=np.ones((1, WIDTH))),
        Intervention("m.0", "exchange", coefficient=0, donor=Donor("b")),
        Intervention("m.0", "project_out", coefficient=0, vectors=np.eye(WIDTH)[:2]),
    ]
    module = torch.nn.Identity()
    with edited({"m.0": module}, [Job(row, edit, 3) for row, edit in enumerate(edits)], 3):
        changed = module(states)
    assert states.numpy().tobytes() == changed.numpy().tobytes()


def test_a_module_that_skips_a_step_is_refused():
    module = torch.nn.Identity()
    edit = Intervention("m.0", "add", vectors=np.ones((1, 2)))
    with (
        pytest.raises(ContractError, match="must be edited at 3 steps, each once; got 2"),
        edited({"m.0": module}, [Job(0, edit)], 3),
    ):
        module(torch.zeros(1, 2, 2))


DONOR = Donor("sad")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replace(ADD, hookpoint="residuals.0"), "must name a hookpoint of this model; got 'residuals.0'"),
        (replace(ADD, hookpoint="residual.9"), "must name a hookpoint of this model; got 'residual.9'"),
        (replace(ADD, operation="ad"), "must name an operation; got 'ad'"),
        (replace(ADD, half="uncond"), r"must name a half that is run \(cond\)"),
        (replace(ADD, steps=(15, 16)), r"0 <= first < stop <= 15; got \(15, 16\)"),
        (replace(ADD, steps=(3, 3)), r"0 <= first < stop <= 15; got \(3, 3\)"),
        (replace(ADD, coefficient=np.nan), "must have a finite coefficient; got nan"),
        (replace(ADD, decay=1.5), r"must have a decay in 0\.\.1; got 1.5"),
        (replace(ADD, vectors=None), "must give vectors to add"),
        (replace(ADD, vectors=np.ones((2, 32))), "must add one vector; got 2"),
        (replace(ADD, vectors=np.ones((1, 8))), "must be 32 wide; got 8"),
        (replace(ADD, vectors=np.full((1, 32), np.inf)), "must hold finite numbers"),
        (replace(ADD, donor=DONOR), "must leave donor at None with add"),
        (Intervention("residual.0", "exchange"), "must give donor to exchange"),
        (Intervention("residual.0", "exchange", "both", donor=DONOR), "states of the conditional half"),
        (Intervention("residual.0", "exchange", donor=Donor(" ")), "a prompt must hold words"),
        (
            Intervention("residual.0", "exchange", donor=Donor("a", CODES[0, :, :5])),
            "must have a donor of 12 frames; got 5",
        ),
        (
            Intervention("residual.0", "project_out", vectors=np.ones((1, 32))),
            "must project on orthonormal rows",
        ),
        (
            Intervention("residual.0", "replace", vectors=np.ones((3, 32))),
            "must give one value, or one for each of 15 steps; got 3",
        ),
    ],
)
def test_an_intervention_that_does_not_fit_is_refused(
    backend: MusicgenBackend, edit: Intervention, message: str
):
    with pytest.raises(UsageError, match=message) as caught:
        backend.teacher_force(CODES[:1], TEXTS[:1], Capture(), [[edit]])
    assert "\n" not in str(caught.value)


def test_interventions_are_given_for_every_clip_or_for_none(backend: MusicgenBackend):
    with pytest.raises(UsageError, match="edits must give the interventions of 2 clips; got 1"):
        backend.teacher_force(CODES, TEXTS, Capture(), [[ADD]])


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
