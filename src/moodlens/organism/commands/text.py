"""Stage `text`: teach the text encoder what captions mean."""

from pathlib import Path

from safetensors.torch import save_file

from moodlens.organism.architecture import build_random, build_tokenizer, text_encoder_of
from moodlens.organism.commands.files import STATES, TEXT, corpus_seed
from moodlens.organism.corpus import caption_at, score_at
from moodlens.organism.recipe import Recipe, fingerprint, pick
from moodlens.organism.train_text import TextRecipe, TextTask
from moodlens.organism.training_loop import Schedule, optimizer_for, train
from moodlens.prompts.factors import Factors
from moodlens.store.atomic import replacing

BETAS = (0.9, 0.98)


def run(recipe: Recipe, folder: Path) -> None:
    """Train the text encoder on captions of pieces nobody renders, and write its weights."""
    part = recipe.text
    tokenizer = build_tokenizer()
    encoder = text_encoder_of(build_random(part.seed, len(tokenizer)))
    seed = corpus_seed(recipe.corpus.seed, "text")

    def meanings(piece: int, draw: int) -> tuple[str, Factors]:
        return caption_at(seed, piece, draw).text, score_at(seed, piece).factors

    task = TextTask(encoder, tokenizer, pick(TextRecipe, part), meanings)
    train(
        task,
        [optimizer_for(task.model, BETAS, part.weight_decay)],
        pick(Schedule, part),
        folder / STATES / "text.safetensors",
        folder / "text_curve.csv",
        fingerprint("text", part, recipe.corpus.seed),
    )
    weights = {name: tensor.contiguous().clone() for name, tensor in encoder.eval().state_dict().items()}
    with replacing(folder / TEXT) as temporary:
        save_file(weights, temporary)
