"""The gates before SAE training, and interim looks at a growing set of prompts.

The gates ask whether there is enough signal in enough data for latents to be interpretable.

Every gate uses a metric that selected no layer on the same data, or one that is corrected for the selection
(maxT). The silhouette is reported beside them and stops nothing.

Each interim look may spend a share of alpha. Testing at 10, then 20, then 50 prompts per emotion, each time
at .05, gives a type-I error above .05. Looks are therefore planned in params.yaml (`decide.looks`), and
alpha is spent as O'Brien and Fleming propose.
"""

from dataclasses import dataclass, replace

from moodlens.params.pipeline import Decide
from moodlens.stats.spending import overall, position, spent


@dataclass(frozen=True)
class Measured:
    """What the gates test; None is "not measured", which passes no gate."""

    clips_per_emotion: float  # mean over emotions
    effect: float | None  # centred within - between similarity at the layer of largest standardised F
    p_layers: float | None  # PERMANOVA, maxT over layers
    acoustic_match: float | None  # share of clips whose acoustics match the emotion of their prompt
    silhouette: float | None  # of emotions at the best layer, in the original space


@dataclass(frozen=True)
class Gate:
    """One gate: the value, its threshold (`bar`) and the verdict."""

    name: str
    value: float | None
    bar: float
    passed: bool
    stops: bool = True  # False: reported only


def gates_of(measured: Measured, thresholds: Decide) -> tuple[Gate, ...]:
    """Return every gate: number of clips, effect, acoustic match, significance, silhouette."""
    return (
        _above("clips_per_emotion", measured.clips_per_emotion, thresholds.gate_clips, reached=True),
        _above("effect", measured.effect, thresholds.gate_effect),
        _above("acoustic_match", measured.acoustic_match, thresholds.gate_acoustic_match),
        Gate(
            "p_layers",
            measured.p_layers,
            thresholds.gate_alpha,
            measured.p_layers is not None and measured.p_layers < thresholds.gate_alpha,
        ),
        _above("silhouette", measured.silhouette, thresholds.gate_silhouette, stops=False),
    )


def _above(name: str, value: float | None, bar: float, reached: bool = False, stops: bool = True) -> Gate:
    passed = value is not None and (value >= bar if reached else value > bar)
    return Gate(name, value, bar, passed, stops)


def closed(gates: tuple[Gate, ...]) -> tuple[str, ...]:
    """Return the names of the gates that stop SAE training.

    >>> closed((Gate("effect", 0.01, 0.02, False), Gate("silhouette", 0.1, 0.2, False, stops=False)))
    ('effect',)
    """
    return tuple(gate.name for gate in gates if gate.stops and not gate.passed)


@dataclass(frozen=True)
class Look:
    """The position of this run in the planned looks, and the levels it tests at."""

    number: int  # 1 = the first
    planned: int
    n_per_emotion: int
    alpha_weak: float  # nominal level of this look
    alpha_strong: float
    alpha_spent: float  # of the weak level, by this look and those before it


def look_of(n_per_emotion: int, thresholds: Decide) -> Look:
    """Return the look at `n_per_emotion` prompts; without a plan it is the only one.

    Raises:
        UsageError: the plan does not contain this number of prompts, or is not increasing.
    """
    at, fractions = position(n_per_emotion, thresholds.looks)
    weak, strong = spent(thresholds.alpha_weak, fractions), spent(thresholds.alpha_strong, fractions)
    used = overall(weak[: at + 1], fractions[: at + 1])
    return Look(at + 1, len(fractions), n_per_emotion, weak[at], strong[at], used)


def at_look(thresholds: Decide, look: Look) -> Decide:
    """Return the thresholds with the levels of this look."""
    return replace(thresholds, alpha_weak=look.alpha_weak, alpha_strong=look.alpha_strong)
