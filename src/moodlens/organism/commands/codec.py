"""Stage `codec`: train the codec on synthesised music."""

from pathlib import Path

import numpy as np
import torch
from transformers import EncodecModel

from moodlens.base.seeding import seed_for
from moodlens.organism.architecture import codec_config
from moodlens.organism.codec import CodecRecipe, CodecTask
from moodlens.organism.commands.files import CODEC, STATES
from moodlens.organism.corpus import synthesise
from moodlens.organism.recipe import Recipe, fingerprint, pick
from moodlens.organism.training_loop import Schedule, optimizer_for, train

BETAS = (0.8, 0.99)


def run(recipe: Recipe, folder: Path) -> None:
    """Train the codec and write it, rounded to what fp16 can hold: tokens are made by what ships."""
    part = recipe.codec
    pool = synthesise(seed_for("codec pool", part.seed), 0, part.n_pool_clips)[1].astype(np.float16)
    held_out = synthesise(seed_for("codec held out", part.seed), 0, part.n_held_out)[1]
    torch.manual_seed(seed_for("codec", part.seed))
    model = EncodecModel(codec_config())
    train(
        CodecTask(model, pick(CodecRecipe, part), pool, held_out),
        [optimizer_for(model, BETAS, part.weight_decay)],
        pick(Schedule, part),
        folder / STATES / "codec.safetensors",
        folder / "codec_curve.csv",
        fingerprint("codec", part),
    )
    model.eval().half().float().save_pretrained(folder / CODEC)
