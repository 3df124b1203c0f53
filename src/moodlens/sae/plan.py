"""Settings of a training other than the architecture, and the learning-rate schedule."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from moodlens.base.errors import UsageError, must, nearest
from moodlens.sae.model import SaeConfig, config_values, require
from moodlens.sae.topk import TopKConfig

REVIVALS = ("auxk", "resample", "none")


@dataclass(frozen=True)
class Plan:
    """Settings of a training. Config, plan and rows determine every bit (same machine and thread count)."""

    seed: int = 0  # of initial weights, order of rows, sample and resampling
    n_epochs: int = 50  # passes over the training rows, at most
    batch_rows: int = 4096
    buffer_rows: int = 65_536  # rows of the shuffle buffer, which is held in memory
    learning_rate: float = 1e-3  # maximum learning rate of Adam
    warmup_steps: int = 100  # linear increase of the learning rate from 0
    decay_share: float = 0.2  # share of all steps, at the end, over which the rate falls linearly to 0
    sparsity_warmup_steps: int = 0  # linear increase of the sparsity penalty from 0
    scale_input: bool = (
        False  # train on rows scaled to a mean norm of sqrt(d_in); folded into the weights at the end
    )
    revive: Literal["auxk", "resample", "none"] = "auxk"  # how dead latents are revived
    dead_after_epochs: float = 1.0  # epochs without firing after which a latent is dead
    resample_every_epochs: int = 5
    patience_epochs: int = 5  # epochs without improvement of the validation FVU after which training stops
    min_gain: float = 1e-4  # decrease of the validation FVU that counts as an improvement
    save_every_steps: int = 500  # steps between checkpoints

    def __post_init__(self) -> None:
        if self.revive not in REVIVALS:
            advice = nearest(self.revive, list(REVIVALS))
            raise UsageError(must("Plan.revive", "be a known way", self.revive, next_step=advice))
        counts = ("n_epochs", "batch_rows", "resample_every_epochs", "patience_epochs", "save_every_steps")
        for name in counts:
            require(self, name, "be at least 1", getattr(self, name) >= 1, "Raise it")
        for name in ("warmup_steps", "sparsity_warmup_steps", "min_gain"):
            require(self, name, "be zero or above", getattr(self, name) >= 0, "Raise it")
        for name in ("learning_rate", "dead_after_epochs"):
            require(self, name, "be above zero", getattr(self, name) > 0, "Raise it")
        require(self, "decay_share", "lie between 0 and 1", 0 <= self.decay_share <= 1, "Start at 0.2")
        rule = f"hold two batches of {self.batch_rows} rows"
        require(
            self, "buffer_rows", rule, self.buffer_rows >= 2 * self.batch_rows, "Raise it or lower batch_rows"
        )

    def rate_at(self, step: int, n_steps: int) -> float:
        """Return the learning rate of step `step` of `n_steps`: linear warm-up, constant, linear decay.

        >>> plan = Plan(learning_rate=1.0, warmup_steps=2, decay_share=0.5)
        >>> [plan.rate_at(step, 8) for step in (0, 1, 4, 6)]
        [0.5, 1.0, 1.0, 0.5]
        """
        up = min(1.0, (step + 1) / max(1, self.warmup_steps))
        n_down = self.decay_share * n_steps
        down = min(1.0, (n_steps - step) / n_down) if n_down else 1.0
        return self.learning_rate * min(up, down)

    def penalty_share_at(self, step: int) -> float:
        """Return the factor of the sparsity penalty at step `step`.

        >>> [Plan(sparsity_warmup_steps=4).penalty_share_at(step) for step in (0, 1, 7)]
        [0.25, 0.5, 1.0]
        """
        return min(1.0, (step + 1) / max(1, self.sparsity_warmup_steps))


def refuse_clash(config: SaeConfig, plan: Plan) -> None:
    """Raise a UsageError if the plan requests AuxK and the architecture has none."""
    if plan.revive == "auxk" and not isinstance(config, TopKConfig):
        kind = type(config).__name__
        rule = f"be resample or none with {kind}, whose loss has no AuxK"
        advice = "Set revive to resample, or use topk, batchtopk or matryoshka"
        raise UsageError(must("Plan.revive", rule, plan.revive, next_step=advice))


def recipe_of(architecture: str, config: SaeConfig, plan: Plan, digest: str) -> dict[str, Any]:
    """Return everything that determines a training as a flat dict of JSON values.

    `digest` is the hash of the training rows.
    """
    settings = {name: value for name, value in asdict(plan).items() if name != "save_every_steps"}
    recipe: dict[str, Any] = {"architecture": architecture, "rows": digest}
    recipe |= {f"config.{name}": value for name, value in config_values(config).items()}
    return recipe | {f"plan.{name}": value for name, value in settings.items()}
