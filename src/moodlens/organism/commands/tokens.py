"""Stage `tokens`: synthesise the corpus and encode it once."""

from pathlib import Path

from safetensors.torch import save_file

from moodlens.organism.architecture import CODEBOOK_SIZE
from moodlens.organism.commands.files import TOKENS, corpus_seed, load_codec
from moodlens.organism.corpus import codebook_entropies, tokenise
from moodlens.organism.recipe import Recipe
from moodlens.store.atomic import replacing


def run(recipe: Recipe, folder: Path) -> None:
    """Write the corpus as tokens: `train` and `held_out`, int16 (clip, codebook, frame)."""
    part, codec = recipe.corpus, load_codec(folder)
    made = {
        "train": tokenise(codec, corpus_seed(part.seed, "train"), part.n_clips),
        "held_out": tokenise(codec, corpus_seed(part.seed, "held out"), part.n_held_out),
    }
    entropies = codebook_entropies(made["train"], CODEBOOK_SIZE)
    print("entropy per codebook, nats: " + " ".join(f"{value:.2f}" for value in entropies))
    with replacing(folder / TOKENS) as temporary:
        save_file(made, temporary)
