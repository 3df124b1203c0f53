"""Training on planted truth: atoms recovered, FVU lowered, dead latents revived, resumed to the same bits."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from moodlens.base.errors import ContractError, UsageError
from moodlens.sae import topk
from moodlens.sae.adam import Adam
from moodlens.sae.catalog import ARCHITECTURES, config_for
from moodlens.sae.dead import Usage, resample
from moodlens.sae.initialization import geometric_median, initialize
from moodlens.sae.kernel import Firing, firing_of
from moodlens.sae.metrics import quality
from moodlens.sae.model import Sae, SaeConfig
from moodlens.sae.plan import Plan
from moodlens.sae.state import State
from moodlens.sae.trainer import Trained, train
from tests.sae.planted import D_IN, Planted, planted, random_rows, random_sae, recovered

SEARCH = Plan(n_epochs=12, batch_rows=512, buffer_rows=8192, learning_rate=5e-3, warmup_steps=20)
SHORT = Plan(
    n_epochs=4, batch_rows=100, buffer_rows=500, learning_rate=3e-3, warmup_steps=5, save_every_steps=7
)
SETTINGS: dict[str, dict[str, object]] = {
    "relu": {"l1": 0.005},
    "topk": {"k": 3},
    "batchtopk": {"k": 3},
    "matryoshka": {"k": 3},
    "jumprelu": {"l0": 3e-4, "threshold": 0.1, "bandwidth": 0.2},
    "gated": {"l1": 0.005},
}


@pytest.fixture(scope="module")
def rows() -> Planted:
    torch.set_num_threads(1)
    return planted(21_000)


def config_of(architecture: str, d_sae: int = 128, **settings: object) -> SaeConfig:
    return config_for(architecture, {"d_in": D_IN, "d_sae": d_sae, **SETTINGS[architecture], **settings})


def plan_of(architecture: str, plan: Plan = SHORT) -> Plan:
    has_aux = architecture in ("topk", "batchtopk", "matryoshka")
    return dataclasses.replace(plan, revive="auxk" if has_aux else "resample", resample_every_epochs=2)


def fit(rows: Planted, config: SaeConfig, plan: Plan, n_rows: int = 2000, **more: object) -> Trained:
    return train(config, rows.source(0, n_rows), rows.source(20_000, 21_000), plan, **more)  # pyright: ignore[reportArgumentType]


def test_topk_finds_the_planted_atoms(rows: Planted):
    lines: list[str] = []
    trained = fit(rows, config_of("topk", d_sae=512, aux_k=32), SEARCH, 20_000, log=lines.append)
    assert recovered(trained.sae, rows.atoms) >= 0.95
    assert trained.curve[-1]["val_fvu"] < 0.1
    assert len(lines) == len(trained.curve) == 12
    assert all("rows/s" in line and "s left" in line for line in lines)


def test_a_broken_weight_gradient_finds_nothing(rows: Planted, monkeypatch: pytest.MonkeyPatch):
    """The same training with the scatter's order reversed: the test above would fail."""

    def unsorted(*arguments: object) -> Firing:
        firing = firing_of(*arguments)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(firing, by_latent=firing.by_latent.flip(0))

    monkeypatch.setattr(topk, "firing_of", unsorted)
    plan = dataclasses.replace(SEARCH, n_epochs=4)
    assert recovered(fit(rows, config_of("topk", d_sae=512, aux_k=32), plan, 20_000).sae, rows.atoms) < 0.05


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_lowers_the_fvu(architecture: str, rows: Planted):
    plan = dataclasses.replace(plan_of(architecture), n_epochs=8, learning_rate=5e-3)
    trained = fit(rows, config_of(architecture), plan, 4000)
    first, last = trained.curve[0]["val_fvu"], trained.curve[-1]["val_fvu"]
    assert last < 0.9 * first
    assert last < 0.75
    assert 1 < trained.curve[-1]["val_l0"] < 40
    if architecture != "gated":
        held_out = quality(trained.sae, [torch.from_numpy(rows.rows[20_000:])])
        assert held_out.fvu == pytest.approx(trained.curve[trained.best_epoch]["val_fvu"], rel=1e-4)
    torch.testing.assert_close(trained.sae.W_dec.norm(dim=1), torch.ones(128))


class Killed(Exception):
    pass


def killed_after(step: int, states: list[State]) -> Callable[[State], None]:
    """A `keep` whose process dies once the training is `step` steps old."""

    def keep(state: State) -> None:
        states.append(state)
        if state.about["counters"]["step"] >= step:
            raise Killed

    return keep


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("step", [7, 40, 63])  # in an epoch, at its end before a resampling, after it
def test_resumed_training_ends_bit_identical(architecture: str, step: int, rows: Planted):
    config = config_of(architecture)
    plan = dataclasses.replace(plan_of(architecture), dead_after_epochs=0.1, scale_input=True)
    whole, states = fit(rows, config, plan), list[State]()
    with pytest.raises(Killed):
        fit(rows, config, plan, save=killed_after(step, states))
    lines: list[str] = []
    resumed = fit(rows, config, plan, resume=states[-1], log=lines.append)
    assert lines[0] == f"resumed at step {states[-1].about['counters']['step']} of 80"
    assert resumed.curve == whole.curve
    for name, tensor in whole.sae.state_dict().items():
        assert torch.equal(resumed.sae.state_dict()[name], tensor), name
    if architecture == "topk":
        assert any(row["dead"] > 0 for row in whole.curve), "AuxK had work to do"


def test_result_is_a_function_of_the_seed(rows: Planted):
    config = config_of("topk")
    one, same = (fit(rows, config, SHORT) for _ in range(2))
    other = fit(rows, config, dataclasses.replace(SHORT, seed=1))
    assert torch.equal(one.sae.W_dec, same.sae.W_dec)
    assert not torch.equal(one.sae.W_dec, other.sae.W_dec)


def test_a_finished_training_is_not_trained_further(rows: Planted):
    states: list[State] = []
    whole = fit(rows, config_of("topk"), SHORT, save=states.append)
    again: list[State] = []
    resumed = fit(rows, config_of("topk"), SHORT, resume=states[-1], save=again.append)
    assert not again
    assert torch.equal(whole.sae.W_enc, resumed.sae.W_enc)


def test_early_stopping_returns_the_best_epoch():
    """Held-out rows about other atoms: what is learnt soon stops helping them."""
    rows, strange = planted(300, seed=1), planted(300, seed=2)
    plan = dataclasses.replace(SHORT, n_epochs=60, learning_rate=1e-2, patience_epochs=3)
    trained = train(config_of("topk", 512), rows.source(0, 300), strange.source(0, 300), plan)
    fvus = [row["val_fvu"] for row in trained.curve]
    assert trained.stopped_early
    assert len(fvus) < 60
    assert trained.best_epoch == int(np.argmin(fvus))
    held_out = quality(trained.sae, [torch.from_numpy(strange.rows)])
    assert held_out.fvu == pytest.approx(min(fvus), rel=1e-5)


def test_scaled_input_is_folded_away(rows: Planted):
    loud = Planted(rows.atoms, 50 * rows.rows)
    plan = dataclasses.replace(SHORT, n_epochs=6, scale_input=True)
    trained, plain = fit(loud, config_of("topk"), plan), fit(rows, config_of("topk"), plan)
    assert trained.input_scale == pytest.approx(plain.input_scale / 50, rel=1e-4)
    assert quality(trained.sae, [torch.from_numpy(loud.rows[20_000:])]).fvu == pytest.approx(
        plain.curve[plain.best_epoch]["val_fvu"], abs=0.02
    )


@pytest.mark.parametrize("revive", ["auxk", "resample", "none"])
def test_dead_latents_come_back_when_asked(revive: str, rows: Planted, monkeypatch: pytest.MonkeyPatch):
    """Half of the latents are born with columns too short ever to be among the k largest."""
    from moodlens.sae import trainer

    def crippled(sae: Sae, rows: torch.Tensor, seed: int) -> None:
        initialize(sae, rows, seed)
        with torch.no_grad():
            sae.W_enc[:, :64] *= 0.01

    monkeypatch.setattr(trainer, "initialize", crippled)
    plan = dataclasses.replace(
        SHORT, n_epochs=8, dead_after_epochs=0.5, revive=revive, resample_every_epochs=2, warmup_steps=1
    )
    trained = fit(rows, config_of("topk", aux_share=0.5), plan)
    alive = quality(trained.sae, [torch.from_numpy(rows.rows[:2000])]).n_fired[:64] > 0
    assert trained.curve[0]["dead"] > 0.3
    if revive == "none":
        assert alive.float().mean() < 0.6
    else:
        assert alive.float().mean() > 0.9


def test_usage_counts_rows_since_the_last_firing():
    usage = Usage.unused(3)
    usage.count(torch.tensor([1, 0, 2]), 10)
    usage.count(torch.tensor([0, 0, 1]), 10)
    assert usage.rows_since.tolist() == [10, 20, 0]
    assert usage.dead(20).tolist() == [1]
    assert usage.dead(10).tolist() == [0, 1]


@pytest.mark.parametrize("architecture", ["relu", "gated", "jumprelu"])
def test_resampling_rewrites_the_dead_and_nothing_else(architecture: str):
    sae = random_sae(architecture)
    optimizer = Adam(sae.parameters())
    sae.losses(random_rows(), torch.empty(0, dtype=torch.int64), 1.0).total.backward()
    optimizer.step(1e-3)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    dead, alive = torch.tensor([2, 7]), torch.tensor([0, 1, 3, 4, 5, 6, *range(8, 20)])
    resample(sae, optimizer, dead, random_rows(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(sae.W_dec[dead].norm(dim=1), torch.ones(2))
    mean_length = before["W_enc"][:, alive].norm(dim=0).mean()
    torch.testing.assert_close(sae.W_enc[:, dead].norm(dim=0), (0.2 * mean_length).expand(2))
    torch.testing.assert_close(sae.W_enc[:, dead].t() / (0.2 * mean_length), sae.W_dec[dead])
    for name, value in sae.resets().items():
        assert sae.get_parameter(name)[dead].tolist() == pytest.approx([value] * 2)
    for name, parameter in sae.named_parameters():
        if name == "b_dec":
            assert torch.equal(parameter, before[name])
            continue
        axis = 1 if name == "W_enc" else 0
        assert torch.equal(parameter.index_select(axis, alive), before[name].index_select(axis, alive))
        moment = optimizer.state[parameter]["exp_avg_sq"]
        assert not moment.index_select(axis, dead).any()
        assert moment.index_select(axis, alive).any()


def test_b_dec_starts_at_the_geometric_median():
    rows = planted(400, offset=5.0)
    plan = dataclasses.replace(SHORT, n_epochs=1, learning_rate=1e-9)
    trained = train(config_of("topk"), rows.source(0, 400), rows.source(0, 400), plan)
    torch.testing.assert_close(
        trained.sae.b_dec, geometric_median(torch.from_numpy(rows.rows)), atol=1e-4, rtol=0
    )


def test_what_cannot_be_trained_is_refused(rows: Planted):
    states: list[State] = []
    fit(rows, config_of("topk"), dataclasses.replace(SHORT, n_epochs=1), save=states.append)
    with pytest.raises(
        UsageError, match=r"the checkpoint must have plan.n_epochs = 4; got 1. Restore that setting"
    ):
        fit(rows, config_of("topk"), SHORT, resume=states[-1])
    with pytest.raises(UsageError, match=r"the checkpoint must have config.k = 5; got 3"):
        fit(rows, config_of("topk", k=5), dataclasses.replace(SHORT, n_epochs=1), resume=states[-1])
    with pytest.raises(UsageError, match=r"the checkpoint must have rows = "):
        fit(rows, config_of("topk"), dataclasses.replace(SHORT, n_epochs=1), 1000, resume=states[-1])
    with pytest.raises(
        UsageError, match=r"Plan.revive must be resample or none with ReluConfig, .* got 'auxk'"
    ):
        fit(rows, config_of("relu"), SHORT)
    with pytest.raises(
        ContractError, match=r"training rows of an SAE must be at least as many as d_in = 64; got 63"
    ):
        fit(rows, config_of("topk"), SHORT, 63)
    with pytest.raises(ContractError, match=r"d_in must be 64 as in the rows; got 32"):
        fit(rows, config_for("topk", {"d_in": 32, "d_sae": 128, "k": 3}), SHORT)
    spoilt = Planted(rows.atoms, rows.rows.copy())
    spoilt.rows[123, 4] = np.nan
    with pytest.raises(ContractError, match=r"row 123 of an SAE's rows must be finite"):
        fit(spoilt, config_of("topk"), SHORT)


def test_a_diverging_training_stops_with_a_line(rows: Planted):
    plan = dataclasses.replace(SHORT, learning_rate=1e30, warmup_steps=0, decay_share=0.0, revive="none")
    with pytest.raises(
        ContractError, match=r"the SAE's .* must be finite; got (nan|inf)\. Lower learning_rate"
    ):
        fit(rows, config_of("relu"), plan)


def test_refused_plans():
    with pytest.raises(
        UsageError, match=r"Plan.revive must be a known way; got 'resampling'. Did you mean 'resample'"
    ):
        Plan(revive="resampling")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=r"Plan.buffer_rows must hold two batches of 4096 rows; got 8000"):
        Plan(buffer_rows=8000)
    with pytest.raises(UsageError, match=r"Plan.learning_rate must be above zero; got 0"):
        Plan(learning_rate=0)
