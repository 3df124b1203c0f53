"""How an SAE is trained, apart from its architecture: the typed plan and what it refuses."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from moodlens.base.errors import UsageError, must, nearest
from moodlens.sae.model import SaeConfig, config_values, need
from moodlens.sae.topk import TopKConfig

REVIVALS = ("auxk", "resample", "none")


@dataclass(frozen=True)
class Plan:
    """One training run; with config and rows it decides every bit (same machine and threads)."""

    seed: int = 0  # of weights, order of rows, sample and resampling
    n_epochs: int = 50  # passes over the training rows, at most
    batch_rows: int = 4096
    buffer_rows: int = 65_536  # rows among which a row is mixed; what the training holds in memory
    learning_rate: float = 1e-3  # of Adam, at its height
    warmup_steps: int = 100  # linear from 0
    decay_share: float = 0.2  # of all steps, at the end, over which the rate falls linearly to 0
    sparsity_warmup_steps: int = 0  # the penalty grows linearly from 0
    scale_input: bool = False  # train on rows scaled to a mean norm of sqrt(d_in); folded away afterwards
    revive: Literal["auxk", "resample", "none"] = "auxk"  # what is done about dead latents
    dead_after_epochs: float = 1.0  # epochs without firing after which a latent is dead
    resample_every_epochs: int = 5
    patience_epochs: int = 5  # epochs without a gain in held-out FVU after which training stops
    min_gain: float = 1e-4  # fall of the held-out FVU that counts as a gain
    save_every_steps: int = 500  # what a kill can cost

    def __post_init__(self) -> None:
        if self.revive not in REVIVALS:
            advice = nearest(self.revive, list(REVIVALS))
            raise UsageError(must("Plan.revive", "be a known way", self.revive, next_step=advice))
        counts = ("n_epochs", "batch_rows", "resample_every_epochs", "patience_epochs", "save_every_steps")
        for name in counts:
            need(self, name, "be at least 1", getattr(self, name) >= 1, "Raise it")
        for name in ("warmup_steps", "sparsity_warmup_steps", "min_gain"):
            need(self, name, "be zero or above", getattr(self, name) >= 0, "Raise it")
        for name in ("learning_rate", "dead_after_epochs"):
            need(self, name, "be above zero", getattr(self, name) > 0, "Raise it")
        need(self, "decay_share", "lie between 0 and 1", 0 <= self.decay_share <= 1, "Start at 0.2")
        rule = f"hold two batches of {self.batch_rows} rows"
        need(
            self, "buffer_rows", rule, self.buffer_rows >= 2 * self.batch_rows, "Raise it or lower batch_rows"
        )

    def rate_at(self, step: int, n_steps: int) -> float:
        """Return the learning rate of step `step` of `n_steps`: linear up, level, linear down.

        >>> plan = Plan(learning_rate=1.0, warmup_steps=2, decay_share=0.5)
        >>> [plan.rate_at(step, 8) for step in (0, 1, 4, 6)]
        [0.5, 1.0, 1.0, 0.5]
        """
        up = min(1.0, (step + 1) / max(1, self.warmup_steps))
        n_down = self.decay_share * n_steps
        down = min(1.0, (n_steps - step) / n_down) if n_down else 1.0
        return self.learning_rate * min(up, down)

    def warm_at(self, step: int) -> float:
        """Return the share of the sparsity penalty that counts at step `step`.

        >>> [Plan(sparsity_warmup_steps=4).warm_at(step) for step in (0, 1, 7)]
        [0.25, 0.5, 1.0]
        """
        return min(1.0, (step + 1) / max(1, self.sparsity_warmup_steps))


def refuse_clash(config: SaeConfig, plan: Plan) -> None:
    """Raise a UsageError if the architecture has no AuxK and the plan asks for it."""
    if plan.revive == "auxk" and not isinstance(config, TopKConfig):
        kind = type(config).__name__
        rule = f"be resample or none with {kind}, whose loss has no AuxK"
        advice = "Set revive to resample, or take topk, batchtopk or matryoshka"
        raise UsageError(must("Plan.revive", rule, plan.revive, next_step=advice))


def recipe_of(architecture: str, config: SaeConfig, plan: Plan, digest: str) -> dict[str, Any]:
    """Return everything that decides a training, flat, as JSON holds it; `digest` is of the training rows."""
    kept = {name: value for name, value in asdict(plan).items() if name != "save_every_steps"}
    recipe: dict[str, Any] = {"architecture": architecture, "rows": digest}
    recipe |= {f"config.{name}": value for name, value in config_values(config).items()}
    return recipe | {f"plan.{name}": value for name, value in kept.items()}
