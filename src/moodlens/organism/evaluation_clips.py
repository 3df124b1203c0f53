"""The clips that `evaluate` measures: of the synthesiser, of the synthesiser through the codec, generated."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from transformers import EncodecModel, MusicgenForConditionalGeneration, T5Tokenizer

from moodlens.audio.descriptors import Descriptors, describe
from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for, seed_for
from moodlens.organism.architecture import CLIP_FRAMES, HOP_SAMPLES, SAMPLE_RATE_HZ, decode, encode
from moodlens.organism.composer import Score, compose_free
from moodlens.organism.corpus import emotion_score_at, render_all
from moodlens.prompts.design import design
from moodlens.prompts.factors import poles_of
from moodlens.prompts.grammar import EMOTION_SETS, Caption

Generator = Callable[[Sequence[str], int], Float[np.ndarray, "prompt sample"]]
"""(texts, seed) -> one clip per text, at 16 kHz."""

BATCH_CLIPS = 16
SYNTHESISED = "synthesised"
"""The prompt set of a synthesiser clip with an emotion."""


@dataclass(frozen=True)
class Clips:
    """Clips in the order (prompt, seed), with what each prompt requests."""

    emotions: tuple[str, ...]  # per prompt; "" where the prompt names factors instead
    sets: tuple[str, ...]  # per prompt: generic, scenes, descriptive, factors
    wordings: tuple[str, ...]  # per prompt; of a factor prompt its four poles
    descriptors: tuple[tuple[Descriptors, ...], ...]  # per prompt, one per seed

    def of(self, wanted: Callable[[str, str], bool]) -> "Clips":
        """Return the prompts for which wanted(emotion, set) is true."""
        rows = [i for i, (e, s) in enumerate(zip(self.emotions, self.sets, strict=True)) if wanted(e, s)]
        fields = (self.emotions, self.sets, self.wordings, self.descriptors)
        return Clips(*(tuple(field[i] for i in rows) for field in fields))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class PromptPlan:
    """The prompts of the evaluation and the clips per prompt."""

    seed: int
    n_seeds: int  # clips per prompt
    prompts_per_emotion: int  # over generic, scenes and descriptive together
    n_factor_prompts: int


def prompts_of(plan: PromptPlan) -> list[Caption]:
    """Return the evaluation's prompts: five emotions in three sets, then factor prompts."""
    emotional = design(EMOTIONS, plan.prompts_per_emotion, EMOTION_SETS, plan.seed)
    return emotional + design(EMOTIONS, plan.n_factor_prompts, ("factors",), plan.seed)


def generated_clips(plan: PromptPlan, generate: Generator, report: Callable[[str], None]) -> Clips:
    """Return the described clips of every prompt and seed; `generate` is called once per seed."""
    prompts = prompts_of(plan)
    columns = []
    began = time.monotonic()
    for number in range(plan.n_seeds):
        waveforms = generate([prompt.text for prompt in prompts], seed_for("evaluate", plan.seed, number))
        columns.append([describe(waveform, SAMPLE_RATE_HZ) for waveform in waveforms])
        left_s = (time.monotonic() - began) / (number + 1) * (plan.n_seeds - number - 1)
        report(f"seed {number + 1}/{plan.n_seeds}: {len(prompts)} clips, remaining {left_s:.0f} s")
    return Clips(
        tuple(prompt.emotion or "" for prompt in prompts),
        tuple(prompt.set for prompt in prompts),
        tuple(prompt.wording for prompt in prompts),
        tuple(zip(*columns, strict=True)),
    )


def reference_clips(seed: int, n_per_emotion: int) -> Clips:
    """Return described synthesiser clips: n per emotion, and 2 n factor pieces."""
    scores = _scores(seed_for("reference", seed), n_per_emotion)
    return _described(scores, render_all(scores))


def ceiling_clips(seed: int, n_per_emotion: int, codec: EncodecModel) -> Clips:
    """Return other synthesiser clips, encoded and decoded by the codec before they are described."""
    scores = _scores(seed_for("ceiling", seed), n_per_emotion)
    waveforms = torch.from_numpy(render_all(scores))
    decoded = [decode(codec, encode(codec, batch)) for batch in waveforms.split(BATCH_CLIPS)]
    return _described(scores, torch.cat(decoded).numpy())


def stock_generator(model: MusicgenForConditionalGeneration, tokenizer: T5Tokenizer) -> Generator:
    """Return a generator that calls transformers' own `generate()` with the model's own settings."""

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
    emotional = [
        emotion_score_at(seed, index, emotion) for emotion in EMOTIONS for index in range(n_per_emotion)
    ]
    return emotional + [
        compose_free(rng_for("factor piece", seed, index)) for index in range(2 * n_per_emotion)
    ]


def _described(scores: Sequence[Score], waveforms: np.ndarray) -> Clips:
    n_samples = CLIP_FRAMES * HOP_SAMPLES
    pieces = [score.factors for score in scores]
    return Clips(
        tuple(piece.emotion or "" for piece in pieces),
        tuple(SYNTHESISED if piece.emotion else "factors" for piece in pieces),
        tuple(poles_of(piece).wording for piece in pieces),
        tuple((describe(waveform[:n_samples], SAMPLE_RATE_HZ),) for waveform in waveforms),
    )
