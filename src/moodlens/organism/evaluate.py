"""The model card's measurements: does generated music sound as its prompt asked, factor by factor.

A classifier and thresholds are fitted on clips of the synthesiser; the ceiling of each figure is the same
measurement on other clips of the synthesiser after a trip through the codec. The unit is the prompt: its
clips (one per seed) are averaged first, and intervals resample prompts within each emotion.

Clips to be judged by `evaluate`: of the synthesiser, of the synthesiser through the codec, generated.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats
from transformers import EncodecModel, MusicgenForConditionalGeneration, T5Tokenizer

from moodlens.audio.classifier import fit, is_fast, is_major, order_right, predict
from moodlens.audio.descriptors import Descriptors, describe
from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for, seed_for
from moodlens.organism.architecture import CLIP_FRAMES, HOP_SAMPLES, SAMPLE_RATE_HZ, decode, encode
from moodlens.organism.composer import Score, compose_free
from moodlens.organism.corpus import emotion_score_at, render_all
from moodlens.prompts.design import design
from moodlens.prompts.factors import Poles, poles_from, poles_of
from moodlens.prompts.grammar import EMOTION_SETS, Caption
from moodlens.stats.bootstrap import interval

FOUR_EMOTIONS = ("happy", "sad", "calm", "energetic")
"""The emotions of the published bars; angry is the fifth."""

MODAL = ("happy", "sad", "calm")
"""Emotions whose mode is settled: major, minor, major."""

HIGH_AROUSAL, LOW_AROUSAL = ("energetic", "angry"), ("sad", "calm")
FAST = ("happy", "energetic", "angry")

FACTORS: dict[str, Callable[[Descriptors], float]] = {
    "tempo": lambda clip: clip.onset_rate_hz,
    "loudness": lambda clip: clip.loudness_db,
    "brightness": lambda clip: clip.centroid_hz,
    "mode": lambda clip: clip.mode_margin,
}
"""Factor of a prompt -> the descriptor that shows it."""

HIGH_POLES = {"tempo": "fast", "loudness": "loud", "brightness": "bright", "mode": "major"}


@dataclass(frozen=True)
class Clips:
    """Clips in the order (prompt, seed) with what each prompt asked for."""

    emotions: tuple[str, ...]  # per prompt; "" where the prompt names factors instead
    sets: tuple[str, ...]  # per prompt: generic, scenes, descriptive, factors
    wordings: tuple[str, ...]  # per prompt; of a factor prompt its four poles
    descriptors: tuple[tuple[Descriptors, ...], ...]  # per prompt, one per seed

    def of(self, keep: Callable[[str, str], bool]) -> "Clips":
        """Return the prompts for which keep(emotion, set)."""
        kept = [i for i, (e, s) in enumerate(zip(self.emotions, self.sets, strict=True)) if keep(e, s)]
        fields = (self.emotions, self.sets, self.wordings, self.descriptors)
        return Clips(*(tuple(field[i] for i in kept) for field in fields))  # pyright: ignore[reportArgumentType]


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


def measure(
    clips: Clips, reference: Clips, thresholds: dict[str, float], bootstrap: Bootstrap
) -> dict[str, Figure]:
    """Return every figure of the model card for one set of clips.

    Args:
        clips: what is judged: generated clips, or synthesiser clips after the codec for the ceiling.
        reference: synthesiser clips of known emotion; the classifier is fitted on them.
        thresholds: of the factors, from `factor_thresholds`.
        bootstrap: how intervals are drawn.
    """
    felt = clips.of(lambda emotion, _: emotion != "")
    four = felt.of(lambda emotion, _: emotion in FOUR_EMOTIONS)
    hits = _classified(four, reference.of(lambda emotion, _: emotion in FOUR_EMOTIONS))
    figures = {"accuracy_4": share(four, hits, bootstrap)}
    for name in sorted(set(four.sets)):
        inside = np.array([s == name for s in four.sets])
        subset = four.of(lambda _, s, name=name: s == name)
        figures[f"accuracy_4_{name}"] = share(subset, hits[inside], bootstrap)
    five = _classified(felt, reference.of(lambda emotion, _: emotion != ""))
    figures["accuracy_5"] = share(felt, five, bootstrap)
    for name in EMOTIONS:
        inside = np.array([emotion == name for emotion in felt.emotions])
        subset = felt.of(lambda emotion, _, name=name: emotion == name)
        figures[f"accuracy_5_{name}"] = share(subset, five[inside], bootstrap)
    modal = felt.of(lambda emotion, _: emotion in MODAL)
    figures["mode_right"] = share(modal, _right(modal, is_major, ("happy", "calm")), bootstrap)
    figures["tempo_right"] = share(felt, _right(felt, is_fast, FAST), bootstrap)
    for name in ("loudness", "brightness"):
        figures[f"{name}_order"] = _order(felt, FACTORS[name], bootstrap)
    factors = clips.of(lambda _, set_name: set_name == "factors")
    for name, threshold in thresholds.items() if factors.emotions else ():
        figures[f"factor_{name}"] = share(factors, _obeyed(factors, name, threshold), bootstrap)
    return figures


def factor_thresholds(reference: Clips) -> dict[str, float]:
    """Return per factor the descriptor value that best parts the poles of the reference's factor pieces."""
    factors = reference.of(lambda _, set_name: set_name == "factors")
    poles = [poles_from(wording) for wording in factors.wordings]
    out = {}
    for name, read in FACTORS.items():
        values = np.array([read(clip) for clips in factors.descriptors for clip in clips])
        repeats = len(values) // len(poles)
        high = np.repeat([_is_high(pole, name) for pole in poles], repeats)
        out[name] = best_threshold(values, high)
    return out


def best_threshold(values: Float[np.ndarray, " clip"], high: Bool[np.ndarray, " clip"]) -> float:
    """Return the threshold with the best balanced accuracy of `value > threshold`; midway in a gap.

    Values that are all equal are parted by nothing: that value itself comes back.

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
    """Return the mean of hits with its interval: prompts resampled within emotion."""
    draws = [hits.mean(1)[pick].mean() for pick in _resamples(clips, bootstrap)]
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


def _resamples(clips: Clips, bootstrap: Bootstrap) -> list[np.ndarray]:
    """Indices of prompts, drawn with replacement within each emotion, once per bootstrap round."""
    rng = rng_for("evaluate", bootstrap.seed)
    names = np.array(clips.emotions)
    groups = [np.flatnonzero(names == name) for name in sorted(set(clips.emotions))]
    return [
        np.concatenate([rng.choice(group, size=len(group)) for group in groups])
        for _ in range(bootstrap.n_bootstrap)
    ]


def _classified(clips: Clips, reference: Clips) -> Float[np.ndarray, "prompt seed"]:
    """1 where a clip is classified as its prompt's emotion."""
    known = [
        emotion for emotion, row in zip(reference.emotions, reference.descriptors, strict=True) for _ in row
    ]
    classifier = fit(_flat(reference), known)
    found = np.array(predict(classifier, _flat(clips))).reshape(len(clips.emotions), -1)
    return (found == np.array(clips.emotions)[:, None]).astype(np.float64)


def _right(
    clips: Clips, read: Callable[[Sequence[Descriptors]], np.ndarray], high: Sequence[str]
) -> Float[np.ndarray, "prompt seed"]:
    """1 where a clip reads high exactly when its emotion is one of the high ones."""
    found = read(_flat(clips)).reshape(len(clips.emotions), -1)
    return (found == np.isin(clips.emotions, high)[:, None]).astype(np.float64)


def _obeyed(clips: Clips, factor: str, threshold: float) -> Float[np.ndarray, "prompt seed"]:
    """1 where a clip lies on the side of the threshold that its factor prompt names."""
    values = np.array([[FACTORS[factor](clip) for clip in row] for row in clips.descriptors])
    asked = np.array([_is_high(poles_from(wording), factor) for wording in clips.wordings])
    return ((values > threshold) == asked[:, None]).astype(np.float64)


def _order(clips: Clips, read: Callable[[Descriptors], float], bootstrap: Bootstrap) -> Figure:
    """Share of pairs (a high-arousal clip, a low-arousal clip) whose descriptor is in the right order."""
    values = np.array([[read(clip) for clip in row] for row in clips.descriptors])
    names = np.array(clips.emotions)

    def over(pick: np.ndarray) -> float:
        highs = values[pick][np.isin(names[pick], HIGH_AROUSAL)]
        lows = values[pick][np.isin(names[pick], LOW_AROUSAL)]
        return order_right(highs.ravel(), lows.ravel())

    draws = np.array([over(pick) for pick in _resamples(clips, bootstrap)])
    low, high = interval(draws, bootstrap.confidence)
    judged = clips.of(lambda emotion, _: emotion in HIGH_AROUSAL + LOW_AROUSAL)
    everyone = np.arange(len(names))
    n_clips = len(judged.emotions) * values.shape[1]
    return Figure(over(everyone), float(low), float(high), len(judged.emotions), n_clips)


def _is_high(poles: Poles, factor: str) -> bool:
    return getattr(poles, factor) == HIGH_POLES[factor]


def _flat(clips: Clips) -> list[Descriptors]:
    return [clip for row in clips.descriptors for clip in row]


Generator = Callable[[Sequence[str], int], Float[np.ndarray, "prompt sample"]]
"""(texts, seed) -> one clip per text, at 16 kHz."""

BATCH_CLIPS = 16
SYNTHESISED = "synthesised"
"""Stands where a generated clip has its prompt set."""


@dataclass(frozen=True)
class PromptPlan:
    """Which prompts are asked, how often."""

    seed: int
    n_seeds: int  # clips per prompt
    prompts_per_emotion: int  # over generic, scenes and descriptive together
    n_factor_prompts: int


def prompts_of(plan: PromptPlan) -> list[Caption]:
    """Return the evaluation's prompts: five emotions in three sets, then factor prompts."""
    felt = design(EMOTIONS, plan.prompts_per_emotion, EMOTION_SETS, plan.seed)
    return felt + design(EMOTIONS, plan.n_factor_prompts, ("factors",), plan.seed)


def generated_clips(plan: PromptPlan, generate: Generator, say: Callable[[str], None]) -> Clips:
    """Return the described clips of every prompt and seed; `generate` is called once per seed."""
    prompts = prompts_of(plan)
    columns = []
    began = time.monotonic()
    for number in range(plan.n_seeds):
        waveforms = generate([prompt.text for prompt in prompts], seed_for("evaluate", plan.seed, number))
        columns.append([describe(waveform, SAMPLE_RATE_HZ) for waveform in waveforms])
        left_s = (time.monotonic() - began) / (number + 1) * (plan.n_seeds - number - 1)
        say(f"seed {number + 1}/{plan.n_seeds}: {len(prompts)} clips, remaining {left_s:.0f} s")
    return Clips(
        tuple(prompt.emotion or "" for prompt in prompts),
        tuple(prompt.set for prompt in prompts),
        tuple(prompt.wording for prompt in prompts),
        tuple(zip(*columns, strict=True)),
    )


def reference_clips(seed: int, n_per_emotion: int) -> Clips:
    """Return described synthesiser clips: n per emotion, and twice as many factor pieces."""
    scores = _scores(seed_for("reference", seed), n_per_emotion)
    return _described(scores, render_all(scores))


def ceiling_clips(seed: int, n_per_emotion: int, codec: EncodecModel) -> Clips:
    """Return other synthesiser clips, described after a trip through the codec's tokens and back."""
    scores = _scores(seed_for("ceiling", seed), n_per_emotion)
    waveforms = torch.from_numpy(render_all(scores))
    decoded = [decode(codec, encode(codec, batch)) for batch in waveforms.split(BATCH_CLIPS)]
    return _described(scores, torch.cat(decoded).numpy())


def stock_generator(model: MusicgenForConditionalGeneration, tokenizer: T5Tokenizer) -> Generator:
    """Return a generator that is nothing but transformers' `generate()` with the model's own settings."""

    @torch.inference_mode()
    def generate(texts: Sequence[str], seed: int) -> Float[np.ndarray, "prompt sample"]:
        clips = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for start in range(0, len(texts), BATCH_CLIPS):
                batch = list(texts[start : start + BATCH_CLIPS])
                inputs = tokenizer(batch, padding=True, return_tensors="pt")
                clips.append(model.generate(**inputs)[:, 0].numpy())
        return np.concatenate(clips)

    return generate


def _scores(seed: int, n_per_emotion: int) -> list[Score]:
    felt = [emotion_score_at(seed, index, emotion) for emotion in EMOTIONS for index in range(n_per_emotion)]
    return felt + [compose_free(rng_for("factor piece", seed, index)) for index in range(2 * n_per_emotion)]


def _described(scores: Sequence[Score], waveforms: np.ndarray) -> Clips:
    n_samples = CLIP_FRAMES * HOP_SAMPLES
    factors = [score.factors for score in scores]
    return Clips(
        tuple(found.emotion or "" for found in factors),
        tuple(SYNTHESISED if found.emotion else "factors" for found in factors),
        tuple(poles_of(found).wording for found in factors),
        tuple((describe(waveform[:n_samples], SAMPLE_RATE_HZ),) for waveform in waveforms),
    )
