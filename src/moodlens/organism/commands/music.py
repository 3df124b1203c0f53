"""Stage `music`: the decoder learns what music sounds like, before it learns to listen to text."""

from pathlib import Path

from safetensors.torch import save_file

from moodlens.organism.architecture import build_random, build_tokenizer, codec_of
from moodlens.organism.commands.decoder import train_on_captions
from moodlens.organism.commands.files import MUSIC, load_codec
from moodlens.organism.recipe import Recipe
from moodlens.store.atomic import replacing


def run(recipe: Recipe, folder: Path) -> None:
    """Train a whole model from random weights for a while and write its decoder; its text side is dropped."""
    model = build_random(recipe.music.seed, len(build_tokenizer()), load_codec(folder))
    codec_of(model).requires_grad_(False)
    train_on_captions(recipe, recipe.music, folder, model, "music", paired=True)
    weights = {name: tensor.contiguous().clone() for name, tensor in model.decoder.state_dict().items()}
    with replacing(folder / MUSIC) as temporary:
        save_file(weights, temporary)
