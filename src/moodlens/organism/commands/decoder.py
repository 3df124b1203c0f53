"""What the stages `organism` and `shuffled` share: the same training with other captions."""

from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import MusicgenForConditionalGeneration

from moodlens.organism.architecture import build_tokenizer
from moodlens.organism.commands.files import STATES, TOKENS, corpus_seed
from moodlens.organism.corpus import caption_at
from moodlens.organism.recipe import Decoder, Recipe, fingerprint, pick
from moodlens.organism.train_decoder import DecoderRecipe, DecoderTask, use_fast_attention
from moodlens.organism.training_loop import Schedule, optimizer_for, train

BETAS = (0.9, 0.95)


def train_on_captions(
    recipe: Recipe,
    part: Decoder,
    folder: Path,
    model: MusicgenForConditionalGeneration,
    name: str,
    *,
    paired: bool,
) -> None:
    """Train what requires a gradient in `model`, with true captions or (not paired) those of other pieces."""
    codes = load_file(folder / TOKENS)

    def captions(which: str, clip: int, draw: int) -> str:
        return caption_at(corpus_seed(recipe.corpus.seed, which), clip, draw, paired=paired).text

    use_fast_attention(model)
    task = DecoderTask(
        model,
        build_tokenizer(),
        pick(DecoderRecipe, part),
        codes["train"],
        partial(captions, "train"),
        codes["held_out"],
        partial(captions, "held out"),
    )
    train(
        task,
        [optimizer_for(model, BETAS, part.weight_decay)],
        pick(Schedule, part),
        folder / STATES / f"{name}.safetensors",
        folder / f"{name}_curve.csv",
        fingerprint(name, part, recipe.corpus, recipe.codec, _digest(codes["train"])),
    )
    model.eval()
    model.decoder.set_attn_implementation("sdpa")


def _digest(codes: Tensor) -> str:
    return fingerprint(int(codes.long().sum()), list(codes.shape))
