"""Training of an SAE: epochs of shuffled batches, validation FVU after each, resumable after any step.

A step is a function of (config, plan, rows, step number). A training that resumes from a saved state is
therefore bit-equal to one that was never interrupted (same machine, same thread count).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for, seed_for
from moodlens.sae.adam import Adam
from moodlens.sae.catalog import new_sae
from moodlens.sae.dead import Usage, resample
from moodlens.sae.initialization import initialize
from moodlens.sae.metrics import quality
from moodlens.sae.mixing import RowSource, Survey, batches, checked, mixed, survey
from moodlens.sae.model import Sae, SaeConfig
from moodlens.sae.plan import Plan, recipe_of, refuse_clash
from moodlens.sae.saelens import folded
from moodlens.sae.state import Counters, Run, State

N_SAMPLE = 4096
"""Training rows in memory for initialization and resampling."""
N_BAR = 20
"""Characters of the progress bar."""


@dataclass(frozen=True)
class Trained:
    """Result of a training: the weights of the best epoch, for rows in model units."""

    sae: Sae
    curve: list[dict[str, float]]  # per epoch: epoch, train_loss, val_fvu, val_mse, val_l0, dead
    best_epoch: int
    stopped_early: bool
    input_scale: float  # already folded into the weights


def train(
    config: SaeConfig,
    train_rows: RowSource,
    val_rows: RowSource,
    plan: Plan,
    *,
    resume: State | None = None,
    save: Callable[[State], None] = lambda state: None,
    log: Callable[[str], None] = lambda line: None,
    device: str = "cpu",
) -> Trained:
    """Train an SAE until the validation FVU stops falling, and return its best epoch.

    Args:
        config: of the architecture.
        train_rows, val_rows: sources of (row, d_in) arrays.
        plan: how to train.
        resume: the last state that an interrupted training of the same recipe passed to `save`.
        save: called with a state every `save_every_steps` steps and after each epoch.
        log: called with a line of progress after each epoch.
        device: torch device of the training.

    Raises:
        UsageError: config and plan conflict, or `resume` belongs to another recipe.
        ContractError: rows are too few, not finite or of the wrong width; the loss is not finite.
    """
    refuse_clash(config, plan)
    facts = survey(train_rows, N_SAMPLE, plan.seed)
    training = _Training(config, plan, facts, device)
    if resume is not None:
        training.run.restore(resume, training.recipe)
        log(f"resumed at step {training.run.counters.step} of {training.n_steps}")
    run = training.run
    while not run.counters.finished:
        began, began_step = time.monotonic(), run.counters.step
        for batch in training.batches_left(train_rows):
            training.step(batch)
            if run.counters.step % plan.save_every_steps == 0:
                save(run.state(training.recipe))
        rate = (run.counters.step - began_step) * plan.batch_rows / (time.monotonic() - began)
        training.end_epoch(val_rows)
        log(_progress(run.counters, plan, facts, rate))
        save(run.state(training.recipe))
    return training.result()


class _Training:
    """A run and the constants that its steps use."""

    def __init__(self, config: SaeConfig, plan: Plan, facts: Survey, device: str) -> None:
        if facts.d_in != config.d_in:
            advice = "Set d_in to the width of the hookpoint"
            raise ContractError(
                must("d_in", f"be {facts.d_in} as in the rows", config.d_in, next_step=advice)
            )
        self.plan, self.facts, self.device = plan, facts, device
        self.scale = math.sqrt(config.d_in) / facts.mean_norm if plan.scale_input else 1.0
        sae = new_sae(config, plan.seed).to(device)
        initialize(sae, facts.sample * self.scale, plan.seed)
        self.run = Run(sae, Adam(sae.parameters()), Usage.unused(config.d_sae), {}, Counters())
        self.recipe = recipe_of(sae.name, config, plan, facts.digest)
        self.n_steps = plan.n_epochs * math.ceil(facts.n_rows / plan.batch_rows)

    def batches_left(self, source: RowSource) -> Iterator[Float[Tensor, "row d_in"]]:
        """Yield the remaining batches of the epoch in progress."""
        plan, counters = self.plan, self.run.counters
        rng = rng_for("sae mixing", plan.seed, counters.epoch)
        buffer_rows = min(plan.buffer_rows, max(self.facts.n_rows, 2 * plan.batch_rows))
        done = counters.batch
        stream = mixed(checked(source(), self.facts.d_in), plan.batch_rows, buffer_rows, rng)
        for number, rows in enumerate(stream):
            if number >= done:
                yield torch.from_numpy(rows).to(self.device).mul_(self.scale)

    def step(self, batch: Float[Tensor, "row d_in"]) -> None:
        """Take one optimizer step."""
        run, plan, counters = self.run, self.plan, self.run.counters
        dead = self.dead() if plan.revive == "auxk" else torch.empty(0, dtype=torch.int64)
        losses = run.sae.losses(batch, dead.to(self.device), plan.penalty_share_at(counters.step))
        total = _finite(float(losses.total.detach()), f"loss at step {counters.step}")
        run.optimizer.zero_grad()
        losses.total.backward()
        run.sae.project_gradient()
        run.optimizer.step(plan.rate_at(counters.step, self.n_steps))
        run.sae.project()
        run.usage.count(losses.n_fired.cpu(), len(batch))
        counters.loss_sum += total
        counters.batch += 1
        counters.step += 1

    def end_epoch(self, val_rows: RowSource) -> None:
        """Measure validation quality, store the best weights, decide whether to stop, resample if due."""
        run, plan, counters = self.run, self.plan, self.run.counters
        run.sae.eval()
        rows = batches(val_rows, self.facts.d_in, plan.batch_rows)
        validation = quality(run.sae, (batch.to(self.device) * self.scale for batch in rows))
        run.sae.train()
        _finite(validation.fvu, f"validation FVU after epoch {counters.epoch}")
        dead = self.dead()
        counters.curve.append(
            {
                "epoch": counters.epoch,
                "train_loss": counters.loss_sum / counters.batch,
                "val_fvu": validation.fvu,
                "val_mse": validation.mse / self.scale**2,
                "val_l0": validation.l0,
                "dead": len(dead) / run.sae.config.d_sae,
            }
        )
        counters.stale_epochs += 1
        if validation.fvu < counters.best_fvu:
            if validation.fvu < counters.best_fvu - plan.min_gain:
                counters.stale_epochs = 0
            counters.best_fvu, counters.best_epoch = validation.fvu, counters.epoch
            run.best = {name: tensor.detach().clone() for name, tensor in run.sae.state_dict().items()}
        counters.epoch, counters.batch, counters.loss_sum = counters.epoch + 1, 0, 0.0
        stale = counters.stale_epochs >= plan.patience_epochs
        counters.finished = stale or counters.epoch == plan.n_epochs
        due = plan.revive == "resample" and counters.epoch % plan.resample_every_epochs == 0
        if due and not counters.finished:
            self.resample(dead)

    def dead(self) -> Int[Tensor, " latent"]:
        """Return the latents that have not fired for `plan.dead_after_epochs` epochs."""
        return self.run.usage.dead(self.plan.dead_after_epochs * self.facts.n_rows)

    def resample(self, dead: Int[Tensor, " latent"]) -> None:
        """Give dead latents new directions; from then on they count as alive."""
        run, epoch = self.run, self.run.counters.epoch
        generator = torch.Generator().manual_seed(seed_for("sae resample", self.plan.seed, epoch))
        rows = (self.facts.sample * self.scale).to(self.device)
        resample(run.sae, run.optimizer, dead, rows, generator)
        run.usage.rows_since[dead] = 0

    def result(self) -> Trained:
        """Return the best epoch, with the input scale folded into its weights."""
        run, counters = self.run, self.run.counters
        run.sae.load_state_dict(run.best)
        sae = folded(run.sae.cpu(), self.scale).eval().requires_grad_(False)
        stopped = counters.epoch < self.plan.n_epochs
        return Trained(sae, counters.curve, counters.best_epoch, stopped, self.scale)


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        advice = "Lower learning_rate or set scale_input"
        raise ContractError(must(f"the SAE's {what}", "be finite", value, next_step=advice))
    return value


def _progress(counters: Counters, plan: Plan, facts: Survey, rate: float) -> str:
    """A progress bar, the last row of the curve, the rate, and the maximum remaining time."""
    n_full = N_BAR * counters.epoch // plan.n_epochs
    figures = " ".join(f"{key} {value:.4g}" for key, value in counters.curve[-1].items() if key != "epoch")
    left_s = (plan.n_epochs - counters.epoch) * facts.n_rows / max(rate, 1e-9)
    bar = "#" * n_full + "." * (N_BAR - n_full)
    head = f"[{bar}] epoch {counters.epoch}/{plan.n_epochs} {figures}"
    return f"{head} {rate:.0f} rows/s, at most {left_s:.0f} s left"
