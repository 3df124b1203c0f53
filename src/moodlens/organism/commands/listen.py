"""Stage `listen`: the decoder that knows music learns to listen to the text encoder that knows captions."""

from pathlib import Path

from safetensors.torch import load_file, save_file

from moodlens.organism.architecture import build_random, forget_text
from moodlens.organism.commands.decoder import train_on_captions
from moodlens.organism.commands.files import LISTEN, MUSIC, TEXT, load_codec, present
from moodlens.organism.parts import codec_of, text_encoder_of
from moodlens.organism.recipe import Recipe
from moodlens.organism.tokenizer import build_tokenizer
from moodlens.store.atomic import replacing


def run(recipe: Recipe, folder: Path) -> None:
    """Train decoder and projection on true captions, text encoder frozen; write the whole model's weights."""
    model = build_random(recipe.listen.seed, len(build_tokenizer()), load_codec(folder))
    model.decoder.load_state_dict(load_file(present(folder / MUSIC)))
    text_encoder_of(model).load_state_dict(load_file(present(folder / TEXT)))
    forget_text(model, recipe.listen.seed)
    codec_of(model).requires_grad_(False)
    text_encoder_of(model).requires_grad_(False)
    train_on_captions(recipe, recipe.listen, folder, model, "listen", paired=True)
    weights = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    with replacing(folder / LISTEN) as temporary:
        save_file(weights, temporary)
