"""Nulls of readers: equal content at another site, and untrained readers of the music in place of the model.

Emotion is there in all of these worlds, and every reader has it alike. What the tests may not claim is that
the model has more of it.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from moodlens.calibration.nulls import Null, promised
from moodlens.calibration.simulate import CAUTIOUS, Promise, World, design_for, sample
from moodlens.contracts.tensors import LEAKS
from moodlens.null_text.few_shot import few_shot_task, read
from moodlens.null_text.readers import Reader
from moodlens.null_text.step_probe import nested
from moodlens.null_text.untrained_memory import MemoryTest, compare
from moodlens.probes import logistic
from moodlens.probes.controls import Comparison, difference
from moodlens.probes.family import ProbeSettings
from moodlens.stats.gram import prompt_grams, site_gram

ONE_SIDED = 0.025
N_FLIPS = 999

CONTENT = World(64, 2, 0.3, shared=True, n_layers=4, layer_share=0.5, planted=0.15, planted_layer=1)
OTHER_SITE = 3
GAIN, AT_THE_MODELS_SITE = "gain above a baseline", "gain above the baseline at the model's site"
PROBE = ProbeSettings(n_folds=5, ridge=0.1, n_permutations=99, n_bootstrap=100, confidence=0.95, seed=0)


def _elsewhere(rng: np.random.Generator) -> dict[str, bool]:
    """Return whether a probe beats one of equally strong content at another site."""
    settings = replace(PROBE, seed=int(rng.integers(2**31)))
    model = sample(CONTENT, CONTENT_DESIGN, rng)
    baseline = sample(replace(CONTENT, planted_layer=OTHER_SITE), CONTENT_DESIGN, rng)
    own, theirs = (
        nested(Reader(name, data.grams[None]), CONTENT_DESIGN, "wording", settings)
        for name, data in (("model", model), ("baseline", baseline))
    )
    how = Comparison(settings.n_folds, settings.n_bootstrap, N_FLIPS, settings.confidence)

    def p_above(right: Float[np.ndarray, " prompt"]) -> float:
        return difference("baseline", own[0][None], 0, right, CONTENT_DESIGN, "wording", how, rng).p

    usual = max(set(own[1]), key=own[1].count)
    folds = settings.folds(CONTENT_DESIGN, "wording")
    labels = CONTENT_DESIGN.labels
    there = logistic.out_of_fold(baseline.grams[usual], labels, folds, settings.ridge) == labels
    return {
        GAIN: p_above(theirs[0]) < ONE_SIDED,
        AT_THE_MODELS_SITE: p_above(there.astype(np.float64)) < ONE_SIDED,
    }


CONTENT_DESIGN = design_for(CONTENT)

HEARD = World(48, 2, 0.3, shared=True)
HEARD_DESIGN = design_for(HEARD)
N_STEPS, READ_AT, TURN = 20, (6, 12, 19), 4
"""Decoder steps of a clip, those that are read, and the one at which the emotion sets in."""
N_HEARD, D_MODEL, N_LAYERS = 8, 8, 2
"""Dimensions of what is heard at a step, and of a state."""
LOUDNESS, STEP_NOISE = 1.0, 4.0
"""Size of an emotion's mean and of the noise of a step, in standard deviations of prompt and clip."""
N_DRAWS = 5
MEMORIES = {"states": None, "running mean": 1.0, **{f"leak {leak:g}": leak for leak in LEAKS[2:4]}}
MEAN_CLAIMED, LEAK_CLAIMED = "running mean claimed", "leak 0.9 claimed"
MEAN_ALIKE = "running mean above five of its kind"
MEAN_ALIKE_WORDINGS = "running mean above five of its kind, by wordings alone"
ABOVE_STATES = "running mean above single untrained states"
N_FOLDS, SHOTS, N_SETS, PENALTY = 4, (1, 2, 4), 20, 0.1
MUST_BEAT_ALL = "the model must beat every family, and draws have few degrees of freedom"


def heard(rng: np.random.Generator) -> Float[np.ndarray, "clip step dim"]:
    """Return what the clips sound like at every step: emotion from the turn on, prompt, clip, noise."""
    design = HEARD_DESIGN
    prompts = np.repeat(np.arange(design.n_prompts), HEARD.n_clips)
    n = len(prompts)
    means = LOUDNESS * rng.standard_normal((design.n_classes, N_HEARD))
    common = np.sqrt(HEARD.icc) * rng.standard_normal((design.n_prompts, N_HEARD))[prompts]
    common += np.sqrt(1 - HEARD.icc) * rng.standard_normal((n, N_HEARD))
    sound = common[:, None] + STEP_NOISE * rng.standard_normal((n, N_STEPS, N_HEARD))
    sound[:, TURN:] += means[design.labels[prompts]][:, None]
    return sound


def untrained_states(
    sound: Float[np.ndarray, "clip step dim"], rng: np.random.Generator
) -> Float[np.ndarray, "layer clip step width"]:
    """Return the states of an untrained network that hears this step and the one before."""
    before = np.concatenate([np.zeros_like(sound[:, :1]), sound[:, :-1]], axis=1)
    states = np.concatenate([sound, before], axis=2)
    layers = []
    for _ in range(N_LAYERS):
        weights = rng.standard_normal((states.shape[2], D_MODEL)) / np.sqrt(states.shape[2])
        states = np.tanh(1.5 * states @ weights)
        layers.append(states)
    return np.stack(layers)


def remembered(
    states: Float[np.ndarray, "layer clip step width"], leak: float | None
) -> Float[np.ndarray, "layer clip step width"]:
    """Return the states themselves (None), their running mean (1), or their leaky sum."""
    if leak is None:
        return states
    memory, out = np.zeros_like(states[:, :, 0]), np.empty_like(states)
    for step in range(states.shape[2]):
        memory = leak * memory + states[:, :, step]
        out[:, :, step] = memory
    return out / np.arange(1, states.shape[2] + 1)[:, None] if leak == 1.0 else out


def _grams(memory: Float[np.ndarray, "layer clip step width"]) -> np.ndarray:
    prompts = np.repeat(np.arange(HEARD_DESIGN.n_prompts), HEARD.n_clips)
    return prompt_grams(
        [site_gram("memory", layer[:, step], prompts) for step in READ_AT for layer in memory]
    )


def _untrained(rng: np.random.Generator) -> dict[str, bool]:
    """Return whether the memory of a sixth untrained network passes for a trained state's."""
    task = few_shot_task(HEARD_DESIGN, N_FOLDS, SHOTS, N_SETS, PENALTY, rng)
    sound = heard(rng)
    draws = [untrained_states(sound, rng) for _ in range(N_DRAWS + 1)]
    scores = {
        name: [read(name, _grams(remembered(states, leak)), task) for states in draws]
        for name, leak in MEMORIES.items()
    }
    families = {name: own[1:] for name, own in scores.items()}
    history = read("history", _grams(remembered(sound[None], 1.0)), task)
    seed = int(rng.integers(2**31))

    def tested(model: str) -> MemoryTest:
        return compare(
            scores[model][0],
            {**families, "token history": [history]},
            task,
            n_flips=N_FLIPS,
            n_bootstrap=2,
            confidence=0.95,
            seed=seed,
        )

    mean, leak = tested("running mean"), tested("leak 0.9")
    against = {family.family: family for family in mean.families}
    return {
        MEAN_CLAIMED: mean.p < ONE_SIDED,
        LEAK_CLAIMED: leak.p < ONE_SIDED,
        MEAN_ALIKE: against["running mean"].p < ONE_SIDED,
        MEAN_ALIKE_WORDINGS: against["running mean"].p_wordings < ONE_SIDED,
        ABOVE_STATES: against["states"].p < ONE_SIDED,
    }


NOT_USED = Promise(carries_claim=False, level=ONE_SIDED, group="nulls")

NULLS = (
    Null(
        "equal content at another site",
        CONTENT,
        _elsewhere,
        {GAIN: promised(ONE_SIDED, CAUTIOUS), AT_THE_MODELS_SITE: NOT_USED},
    ),
    Null(
        "an untrained memory in place of the model",
        HEARD,
        _untrained,
        {
            MEAN_CLAIMED: promised(ONE_SIDED, MUST_BEAT_ALL),
            LEAK_CLAIMED: promised(ONE_SIDED, MUST_BEAT_ALL),
            MEAN_ALIKE: promised(ONE_SIDED, f"{CAUTIOUS}, and both p must be small"),
            MEAN_ALIKE_WORDINGS: NOT_USED,
            ABOVE_STATES: NOT_USED,
        },
    ),
)
