"""Trainings small enough for tests: a codec on tones, a decoder on random codes."""

from pathlib import Path

import numpy as np
import torch

from moodlens.organism.architecture import build_tokenizer
from moodlens.organism.codec import CodecRecipe, CodecTask
from moodlens.organism.train_decoder import DecoderRecipe, DecoderTask, TextRegime, TokenisedPieces
from moodlens.organism.training_loop import Schedule, Task, optimizer_for, train
from tests.tiny_model import tiny_codec, tiny_model

N_STEPS = 12


def schedule(n_steps: int = N_STEPS, learning_rate: float = 3e-3) -> Schedule:
    return Schedule(
        n_steps=n_steps,
        learning_rate=learning_rate,
        warmup_steps=2,
        final_share=0.1,
        clip_norm=1.0,
        validate_every_steps=4,
        save_every_steps=5,
    )


def run(task: Task, folder: Path, plan: Schedule, fingerprint: str = "recipe") -> list[str]:
    """Train a task, with state and curve in `folder`, and return what the training reports."""
    messages: list[str] = []
    optimizers = [optimizer_for(task.model, (0.9, 0.95), 0.01)]
    state, curve = folder / "state.safetensors", folder / "curve.csv"
    train(task, optimizers, plan, state, curve, fingerprint, messages.append)
    return messages


def tones(n_clips: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    times_s = np.arange(16_000) / 16_000
    pitches_hz = rng.uniform(200, 800, size=(n_clips, 1))
    return (0.1 * np.sin(2 * np.pi * pitches_hz * times_s)).astype(np.float32)


def codec_task() -> CodecTask:
    recipe = CodecRecipe(
        seed=1, batch_crops=2, crop_s=0.2, plant_step=3, commitment=0.25, waveform=0.3, n_steps=N_STEPS
    )
    return CodecTask(tiny_codec(), recipe, tones(6, seed=1), tones(2, seed=2))


CODEBOOK_WEIGHTS = (2.0, 1.0, 0.6, 0.4)
MIXED = TextRegime(never=0.2, lost=0.3, late=0.3, paired=True)
ALWAYS = TextRegime(never=0.2, lost=0.0, late=0.0, paired=True)
TEXTS = ("sad flute piece", "i feel jolly, piano in g", "organ piece")
N_FRAMES, EARLY_FRAMES = 24, 18


def decoder_recipe(early_clips: int = 3, turn_weight: float = 3.0) -> DecoderRecipe:
    return DecoderRecipe(
        seed=1,
        batch_clips=4,
        codebook_weights=CODEBOOK_WEIGHTS,
        turn_weight=turn_weight,
        early_clips=early_clips,
        early_frames=EARLY_FRAMES,
    )


def toy_pieces() -> TokenisedPieces:
    """Return 12 pieces of random codes that turn at frame 8, 10, 12 or 14."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 32, (12, 4, N_FRAMES), generator=generator).to(torch.int16)

    def captions(clip: int, draw: int) -> str:
        return TEXTS[(clip + draw) % 3]

    return TokenisedPieces(codes, torch.tensor([8, 10, 12, 14] * 3), captions)


def decoder_task(recipe: DecoderRecipe | None = None, regime: TextRegime = MIXED) -> DecoderTask:
    pieces = toy_pieces()
    held_out = TokenisedPieces(pieces.codes[:5], pieces.turns[:5], pieces.captions)
    return task_on(pieces, held_out, recipe or decoder_recipe(), regime)


def task_on(
    pieces: TokenisedPieces, held_out: TokenisedPieces, recipe: DecoderRecipe, regime: TextRegime
) -> DecoderTask:
    model = tiny_model()
    model.audio_encoder.requires_grad_(False)
    return DecoderTask(model, build_tokenizer(), recipe, regime, pieces, held_out)
