"""Stage `evaluate`: does the generated music have the emotion and the factors that its prompt requests?

A classifier and one threshold per factor are fitted on pieces of the synthesiser through the codec. All of
them hear the part of a clip behind the last possible turn. The ceiling of each figure is the same measurement
on other pieces. Another classifier hears what comes before the first possible turn, where nothing may tell
the emotions apart. The unit is the prompt: its clips (one per seed) are averaged first, and intervals
resample prompts within each emotion.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from safetensors.torch import load_file
from scipy import stats
from sklearn.linear_model import RidgeClassifier

from moodlens.audio.classifier import fit, is_fast, is_major, order_right, predict
from moodlens.audio.descriptors import Descriptors
from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for, seed_for
from moodlens.organism.architecture import CODEBOOK_SIZE, build_tokenizer, existing, load_codec, load_model
from moodlens.organism.corpus import score_at
from moodlens.organism.evaluation_clips import (
    Clips,
    PromptPlan,
    generated_clips,
    stock_generator,
    synthesised_clips,
)
from moodlens.organism.recipe import METRICS, TOKENS, TRAIN, Recipe, corpus_seed, folder_of, pick
from moodlens.organism.unfolding import LOOKAHEAD_FRAMES
from moodlens.prompts.factors import Poles, poles_from
from moodlens.stats.bootstrap import interval
from moodlens.store.atomic import replacing

FOUR_EMOTIONS = ("happy", "sad", "calm", "energetic")
"""The emotions of the published bars; angry is the fifth."""

MODAL = ("happy", "sad", "calm")
"""Emotions with a fixed mode: major, minor, major."""

HIGH_AROUSAL, LOW_AROUSAL = ("energetic", "angry"), ("sad", "calm")
FAST = ("happy", "energetic", "angry")

FACTORS: dict[str, Callable[[Descriptors], float]] = {
    "tempo": lambda clip: clip.onset_rate_hz,
    "loudness": lambda clip: clip.loudness_db,
    "brightness": lambda clip: clip.centroid_hz,
    "mode": lambda clip: clip.mode_margin,
}
"""Factor of a prompt -> the descriptor that measures it."""

HIGH_POLES = {"tempo": "fast", "loudness": "loud", "brightness": "bright", "mode": "major"}


@dataclass(frozen=True)
class Figure:
    """One measured share with its interval over prompts."""

    value: float
    low: float
    high: float
    n_prompts: int
    n_clips: int


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    seed: int
    n_bootstrap: int
    confidence: float


MODELS = ("organism", "memory", "reader", "shuffled", "music-only")

OPENING_CONFIDENCE = 0.99
"""Level of the chance intervals of the figures before the turn."""


def evaluate(recipe: Recipe, folder: Path) -> None:
    """Generate clips with every model of the family, measure them, and write metrics.json."""
    part = recipe.evaluate
    codec = load_codec(folder)
    synthesised = [
        synthesised_clips(seed_for(use, part.seed), part.n_reference_clips, codec)
        for use in ("reference", "ceiling")
    ]
    thresholds = factor_thresholds(synthesised[0])
    bootstrap = pick(Bootstrap, part)
    figures_of = partial(measure, reference=synthesised[0], thresholds=thresholds, bootstrap=bootstrap)
    figures = {"ceiling": figures_of(synthesised[1])}
    for name in MODELS:
        generate = stock_generator(load_model(folder_of(folder, name)), build_tokenizer())
        figures[name] = figures_of(generated_clips(pick(PromptPlan, part), generate, partial(_report, name)))
    four, five = figures["shuffled"]["accuracy_4"], figures["organism"]["opening_5"]
    metrics = {
        **{name: {key: asdict(figure) for key, figure in rows.items()} for name, rows in figures.items()},
        "chance_4": {
            "by_prompt": chance_interval(four.n_prompts, 4, part.confidence),
            "by_clip": chance_interval(four.n_clips, 4, part.confidence),
        },
        "chance_5": {
            "by_prompt": chance_interval(five.n_prompts, 5, OPENING_CONFIDENCE),
            "by_clip": chance_interval(five.n_clips, 5, OPENING_CONFIDENCE),
        },
        "tokens_before_turn": asdict(opening_tokens(recipe, folder)),
        "thresholds": thresholds,
    }
    with replacing(folder / METRICS) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class OpeningTokens:
    """How well the tokens before the turn tell the five emotions of the corpus apart."""

    accuracy: float  # of a regression on token counts, on pieces that it was not fitted on
    low: float  # of the 99 % interval at chance
    high: float
    n_pieces: int  # in the test


def opening_tokens(recipe: Recipe, folder: Path) -> OpeningTokens:
    """Return how well the corpus' tokens before each piece's turn tell its emotion: they should not."""
    tokenised = load_file(existing(folder / TOKENS))
    codes, turns = tokenised[f"{TRAIN} codes"].numpy(), tokenised[f"{TRAIN} turns"].numpy()
    seed = corpus_seed(recipe.corpus.seed, TRAIN)
    emotions = np.array([score_at(seed, index).factors.emotion or "" for index in range(len(codes))])
    counts = [
        np.concatenate(
            [np.bincount(book[: turn - LOOKAHEAD_FRAMES], minlength=CODEBOOK_SIZE) for book in clip]
        )
        for clip, turn in zip(codes, turns, strict=True)
    ]
    features = np.sqrt(np.stack(counts)[emotions != ""])
    labels = emotions[emotions != ""]
    half = len(labels) // 2
    accuracy = float(
        RidgeClassifier(alpha=30.0).fit(features[:half], labels[:half]).score(features[half:], labels[half:])
    )
    low, high = chance_interval(len(labels) - half, len(EMOTIONS), OPENING_CONFIDENCE)
    return OpeningTokens(accuracy, low, high, len(labels) - half)


def measure(
    clips: Clips, reference: Clips, thresholds: dict[str, float], bootstrap: Bootstrap
) -> dict[str, Figure]:
    """Return every figure of the model card for one set of clips.

    Args:
        clips: the clips to measure: generated ones, or for the ceiling synthesiser clips after the codec.
        reference: synthesiser clips of known emotion; the classifier is fitted on them.
        thresholds: of the factors, from `factor_thresholds`.
        bootstrap: how intervals are drawn.
    """
    emotional = clips.of(lambda emotion, _: emotion != "")
    four = emotional.of(lambda emotion, _: emotion in FOUR_EMOTIONS)
    hits = _classified(four, reference.of(lambda emotion, _: emotion in FOUR_EMOTIONS))
    figures = {"accuracy_4": share(four, hits, bootstrap)}
    for name in sorted(set(four.sets)):
        inside = np.array([s == name for s in four.sets])
        subset = four.of(lambda _, s, name=name: s == name)
        figures[f"accuracy_4_{name}"] = share(subset, hits[inside], bootstrap)
    five = _classified(emotional, reference.of(lambda emotion, _: emotion != ""))
    figures["accuracy_5"] = share(emotional, five, bootstrap)
    openings = _classified(_openings(emotional), _openings(reference.of(lambda emotion, _: emotion != "")))
    figures["opening_5"] = share(emotional, openings, bootstrap)
    for name in EMOTIONS:
        inside = np.array([emotion == name for emotion in emotional.emotions])
        subset = emotional.of(lambda emotion, _, name=name: emotion == name)
        figures[f"accuracy_5_{name}"] = share(subset, five[inside], bootstrap)
    modal = emotional.of(lambda emotion, _: emotion in MODAL)
    figures["mode_right"] = share(modal, _right(modal, is_major, ("happy", "calm")), bootstrap)
    figures["tempo_right"] = share(emotional, _right(emotional, is_fast, FAST), bootstrap)
    for name in ("loudness", "brightness"):
        figures[f"{name}_order"] = _order(emotional, FACTORS[name], bootstrap)
    factors = clips.of(lambda _, set_name: set_name == "factors")
    for name, threshold in thresholds.items() if factors.emotions else ():
        figures[f"factor_{name}"] = share(factors, _on_requested_side(factors, name, threshold), bootstrap)
    return figures


def factor_thresholds(reference: Clips) -> dict[str, float]:
    """Return per factor the descriptor value that best separates the poles of the reference's pieces."""
    factors = reference.of(lambda _, set_name: set_name == "factors")
    poles = [poles_from(wording) for wording in factors.wordings]
    out = {}
    for name, value_of in FACTORS.items():
        values = np.array([value_of(clip) for clips in factors.descriptors for clip in clips])
        repeats = len(values) // len(poles)
        high = np.repeat([_is_high(pole, name) for pole in poles], repeats)
        out[name] = best_threshold(values, high)
    return out


def best_threshold(values: Float[np.ndarray, " clip"], high: Bool[np.ndarray, " clip"]) -> float:
    """Return the threshold with the best balanced accuracy of `value > threshold`, midway between values.

    If all values are equal, that value is returned.

    >>> best_threshold(np.array([1.0, 2.0, 4.0, 5.0]), np.array([False, False, True, True]))
    3.0
    """
    levels = np.unique(values)
    candidates = (levels[1:] + levels[:-1]) / 2 if len(levels) > 1 else levels
    above = values[None, :] > candidates[:, None]
    balanced = above[:, high].mean(1) + (~above[:, ~high]).mean(1)
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    return float(candidates[best[len(best) // 2]])


def share(clips: Clips, hits: Float[np.ndarray, "prompt seed"], bootstrap: Bootstrap) -> Figure:
    """Return the mean of hits with its interval; prompts are resampled within each emotion."""
    draws = [hits.mean(1)[rows].mean() for rows in _resamples(clips, bootstrap)]
    low, high = interval(np.array(draws), bootstrap.confidence)
    return Figure(float(hits.mean()), float(low), float(high), hits.shape[0], hits.size)


def chance_interval(n: int, n_classes: int, confidence: float) -> tuple[float, float]:
    """Return the central binomial interval of an accuracy at chance, 1 / n_classes, over n trials.

    >>> low, high = chance_interval(100, 4, 0.95)
    >>> round(low, 2), round(high, 2)
    (0.17, 0.34)
    """
    tail = (1 - confidence) / 2
    counts = stats.binom.ppf([tail, 1 - tail], n, 1 / n_classes)
    return float(counts[0] / n), float(counts[1] / n)


def _report(name: str, text: str) -> None:
    print(f"{name}: {text}", flush=True)


def _resamples(clips: Clips, bootstrap: Bootstrap) -> list[np.ndarray]:
    """Return rows of prompts, drawn with replacement within each emotion, once per bootstrap round."""
    rng = rng_for("evaluate", bootstrap.seed)
    names = np.array(clips.emotions)
    groups = [np.flatnonzero(names == name) for name in sorted(set(clips.emotions))]
    return [
        np.concatenate([rng.choice(group, size=len(group)) for group in groups])
        for _ in range(bootstrap.n_bootstrap)
    ]


def _classified(clips: Clips, reference: Clips) -> Float[np.ndarray, "prompt seed"]:
    """Return 1 where a clip is classified as its prompt's emotion, else 0."""
    known = [
        emotion for emotion, row in zip(reference.emotions, reference.descriptors, strict=True) for _ in row
    ]
    classifier = fit(_flat(reference), known)
    predicted = np.array(predict(classifier, _flat(clips))).reshape(len(clips.emotions), -1)
    return (predicted == np.array(clips.emotions)[:, None]).astype(np.float64)


def _openings(clips: Clips) -> Clips:
    """Return clips that are described by what is heard before the turn."""
    return replace(clips, descriptors=clips.openings)


def _right(
    clips: Clips, is_high: Callable[[Sequence[Descriptors]], np.ndarray], high: Sequence[str]
) -> Float[np.ndarray, "prompt seed"]:
    """Return 1 where `is_high` of a clip agrees with its emotion being one of `high`, else 0."""
    measured = is_high(_flat(clips)).reshape(len(clips.emotions), -1)
    return (measured == np.isin(clips.emotions, high)[:, None]).astype(np.float64)


def _on_requested_side(clips: Clips, factor: str, threshold: float) -> Float[np.ndarray, "prompt seed"]:
    """Return 1 where a clip lies on the side of the threshold that its factor prompt requests, else 0."""
    values = np.array([[FACTORS[factor](clip) for clip in row] for row in clips.descriptors])
    requested = np.array([_is_high(poles_from(wording), factor) for wording in clips.wordings])
    return ((values > threshold) == requested[:, None]).astype(np.float64)


def _order(clips: Clips, value_of: Callable[[Descriptors], float], bootstrap: Bootstrap) -> Figure:
    """Return the share of (high-arousal, low-arousal) clip pairs with the descriptor in the right order."""
    values = np.array([[value_of(clip) for clip in row] for row in clips.descriptors])
    names = np.array(clips.emotions)

    def over(rows: np.ndarray) -> float:
        highs = values[rows][np.isin(names[rows], HIGH_AROUSAL)]
        lows = values[rows][np.isin(names[rows], LOW_AROUSAL)]
        return order_right(highs.ravel(), lows.ravel())

    draws = np.array([over(rows) for rows in _resamples(clips, bootstrap)])
    low, high = interval(draws, bootstrap.confidence)
    compared = clips.of(lambda emotion, _: emotion in HIGH_AROUSAL + LOW_AROUSAL)
    n_clips = len(compared.emotions) * values.shape[1]
    every = np.arange(len(names))
    return Figure(over(every), float(low), float(high), len(compared.emotions), n_clips)


def _is_high(poles: Poles, factor: str) -> bool:
    return getattr(poles, factor) == HIGH_POLES[factor]


def _flat(clips: Clips) -> list[Descriptors]:
    return [clip for row in clips.descriptors for clip in row]
