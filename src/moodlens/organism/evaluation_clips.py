"""The clips that `evaluate` measures: of the synthesiser through the codec, and generated.

Each clip is described twice: behind the last possible turn, and before the first possible one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from transformers import EncodecModel, MusicgenForConditionalGeneration, T5Tokenizer

from moodlens.audio.descriptors import Descriptors, describe
from moodlens.audio.judge import last_seconds
from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for, seed_for
from moodlens.organism.architecture import HOP_SAMPLES, SAMPLE_RATE_HZ, decode, encode
from moodlens.organism.composer import DURATION_S, FRAME_RATE_HZ, compose_free
from moodlens.organism.corpus import emotion_piece_at
from moodlens.organism.unfolding import (
    FIRST_TURN_FRAME,
    LAST_TURN_FRAME,
    LOOKAHEAD_FRAMES,
    Piece,
    render_piece,
    unfold,
)
from moodlens.prompts.design import design
from moodlens.prompts.factors import poles_of
from moodlens.prompts.grammar import EMOTION_SETS, Caption

Generator = Callable[[Sequence[str], int], Float[np.ndarray, "prompt sample"]]
"""(texts, seed) -> one clip per text, at 16 kHz."""

BATCH_CLIPS = 16
MARGIN_S = 0.1
WINDOW_S = DURATION_S - LAST_TURN_FRAME / FRAME_RATE_HZ - MARGIN_S
"""The last 1.7 s of a clip lie behind the last possible turn."""

SYNTHESISED = "synthesised"
"""The prompt set of a synthesiser clip with an emotion."""


@dataclass(frozen=True)
class Clips:
    """Clips in the order (prompt, seed), with what each prompt requests."""

    emotions: tuple[str, ...]  # per prompt; "" where the prompt names factors instead
    sets: tuple[str, ...]  # per prompt: generic, scenes, descriptive, factors
    wordings: tuple[str, ...]  # per prompt; of a factor prompt its four poles
    descriptors: tuple[tuple[Descriptors, ...], ...]  # per prompt, one per seed: behind the turn
    openings: tuple[tuple[Descriptors, ...], ...]  # likewise, before the turn

    def of(self, wanted: Callable[[str, str], bool]) -> "Clips":
        """Return the prompts for which wanted(emotion, set) is true."""
        rows = [i for i, (e, s) in enumerate(zip(self.emotions, self.sets, strict=True)) if wanted(e, s)]
        fields = (self.emotions, self.sets, self.wordings, self.descriptors, self.openings)
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
    after, before = [], []
    began = time.monotonic()
    for number in range(plan.n_seeds):
        waveforms = generate([prompt.text for prompt in prompts], seed_for("evaluate", plan.seed, number))
        after.append(last_seconds(waveforms, SAMPLE_RATE_HZ, WINDOW_S))
        before.append(first_seconds(waveforms))
        left_s = (time.monotonic() - began) / (number + 1) * (plan.n_seeds - number - 1)
        report(f"seed {number + 1}/{plan.n_seeds}: {len(prompts)} clips, remaining {left_s:.0f} s")
    return Clips(
        tuple(prompt.emotion or "" for prompt in prompts),
        tuple(prompt.set for prompt in prompts),
        tuple(prompt.wording for prompt in prompts),
        tuple(zip(*after, strict=True)),
        tuple(zip(*before, strict=True)),
    )


def first_seconds(waveforms: Float[np.ndarray, "clip sample"]) -> list[Descriptors]:
    """Return the descriptors of each clip before the codec can know of the first possible turn (0.48 s)."""
    n = (FIRST_TURN_FRAME - LOOKAHEAD_FRAMES) * HOP_SAMPLES
    return [describe(waveform[:n], SAMPLE_RATE_HZ) for waveform in waveforms]


def synthesised_clips(seed: int, n_per_emotion: int, codec: EncodecModel) -> Clips:
    """Return described pieces after the codec: n per emotion, and 2 n factor pieces."""
    pieces = [emotion_piece_at(seed, i, emotion) for emotion in EMOTIONS for i in range(n_per_emotion)]
    for index in range(2 * n_per_emotion):
        rng = rng_for("factor piece", seed, index)
        pieces.append(unfold(rng, compose_free(rng)))
    waveforms = through(codec, pieces)
    factors = [piece.score.factors for piece in pieces]
    return Clips(
        tuple(factor.emotion or "" for factor in factors),
        tuple(SYNTHESISED if factor.emotion else "factors" for factor in factors),
        tuple(poles_of(factor).wording for factor in factors),
        tuple((clip,) for clip in last_seconds(waveforms, SAMPLE_RATE_HZ, WINDOW_S)),
        tuple((clip,) for clip in first_seconds(waveforms)),
    )


def through(codec: EncodecModel, pieces: Sequence[Piece]) -> Float[np.ndarray, "clip sample"]:
    """Return the waveforms of pieces, encoded and decoded by the codec."""
    waveforms = torch.from_numpy(np.stack([render_piece(piece) for piece in pieces]))
    decoded = [decode(codec, encode(codec, batch)) for batch in waveforms.split(BATCH_CLIPS)]
    return torch.cat(decoded).numpy()


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
