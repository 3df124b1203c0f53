"""The training stages of models/organism/dvc.yaml, one function per stage, named after it.

Each function takes the recipe and the folder models/organism, and writes its outputs there. Files that are
only needed to make the weights stay out of git: `codec/`, `*.safetensors` of single parts, and the states of
unfinished trainings in `work/`.

The stages `evaluate` and `card` live in modules of their own: DVC compares the files that a stage imports, so
an edit of the model card does not make the weights stale.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import EncodecModel, MusicgenForConditionalGeneration

from moodlens.base.seeding import seed_for
from moodlens.organism.architecture import (
    CODEBOOK_SIZE,
    build_random,
    build_tokenizer,
    codec_config,
    codec_of,
    existing,
    forget_text,
    load_model,
    save,
    text_encoder_of,
)
from moodlens.organism.codec import CodecRecipe, CodecTask
from moodlens.organism.corpus import caption_at, codebook_entropies, score_at, synthesise, tokenise
from moodlens.organism.recipe import SHUFFLED, Decoder, Recipe, Training, fingerprint, pick
from moodlens.organism.train_decoder import DecoderRecipe, DecoderTask, use_fast_attention
from moodlens.organism.train_text import TextRecipe, TextTask
from moodlens.organism.training_loop import Schedule, Task, optimizer_for, train
from moodlens.prompts.factors import Factors
from moodlens.store.atomic import replacing

CODEC = Path("codec")
TOKENS = Path("tokens.safetensors")
TEXT = Path("text.safetensors")
MUSIC = Path("music.safetensors")
STATES = Path("work/states")

CODEC_BETAS, TEXT_BETAS, DECODER_BETAS = (0.8, 0.99), (0.9, 0.98), (0.9, 0.95)
"""AdamW's betas in each training."""


def codec(recipe: Recipe, folder: Path) -> None:
    """Train the codec on synthesised music and write it.

    The weights are rounded to fp16 first, so that the stage `tokens` uses the values that ship.
    """
    part = recipe.codec
    pool = synthesise(seed_for("codec pool", part.seed), 0, part.n_pool_clips)[1].astype(np.float16)
    held_out = synthesise(seed_for("codec held out", part.seed), 0, part.n_held_out)[1]
    torch.manual_seed(seed_for("codec", part.seed))
    model = EncodecModel(codec_config())
    task = CodecTask(model, pick(CodecRecipe, part), pool, held_out)
    _train(task, part, CODEC_BETAS, folder, "codec", fingerprint("codec", part))
    model.eval().half().float().save_pretrained(folder / CODEC)


def tokens(recipe: Recipe, folder: Path) -> None:
    """Synthesise the corpus, encode it, and write `train` and `held_out`: int16 (clip, codebook, frame)."""
    part, encoder = recipe.corpus, _load_codec(folder)
    codes = {
        "train": tokenise(encoder, corpus_seed(part.seed, "train"), part.n_clips),
        "held_out": tokenise(encoder, corpus_seed(part.seed, "held out"), part.n_held_out),
    }
    entropies = codebook_entropies(codes["train"], CODEBOOK_SIZE)
    print("entropy per codebook, nats: " + " ".join(f"{value:.2f}" for value in entropies))
    with replacing(folder / TOKENS) as temporary:
        save_file(codes, temporary)


def text(recipe: Recipe, folder: Path) -> None:
    """Train the text encoder to predict the factors of a piece from its caption, and write its weights.

    The pieces are composed but never rendered.
    """
    part = recipe.text
    tokenizer = build_tokenizer()
    encoder = text_encoder_of(build_random(part.seed, len(tokenizer)))
    seed = corpus_seed(recipe.corpus.seed, "text")

    def captioned_factors(piece: int, draw: int) -> tuple[str, Factors]:
        return caption_at(seed, piece, draw).text, score_at(seed, piece).factors

    task = TextTask(encoder, tokenizer, pick(TextRecipe, part), captioned_factors)
    _train(task, part, TEXT_BETAS, folder, "text", fingerprint("text with heads", part, recipe.corpus.seed))
    _save_weights(encoder.eval(), folder / TEXT)


def music(recipe: Recipe, folder: Path) -> None:
    """Train a whole model from random weights for `stop_step` steps and write its decoder.

    The decoder learns the statistics of the music before the stage `organism` conditions it on the trained
    text encoder. The text encoder of this stage is dropped.
    """
    model = build_random(recipe.music.seed, len(build_tokenizer()), _load_codec(folder))
    codec_of(model).requires_grad_(False)
    _train_decoder(recipe, recipe.music, folder, model, "music", paired=True)
    _save_weights(model.decoder, folder / MUSIC)


def organism(recipe: Recipe, folder: Path) -> None:
    """Train decoder and text projection on true captions and write the organism to `folder`.

    The decoder starts from the stage `music`, with new cross-attention. The text encoder is that of the stage
    `text`, frozen.
    """
    tokenizer = build_tokenizer()
    model = build_random(recipe.organism.seed, len(tokenizer), _load_codec(folder))
    model.decoder.load_state_dict(load_file(existing(folder / MUSIC)))
    text_encoder_of(model).load_state_dict(load_file(existing(folder / TEXT)))
    forget_text(model, recipe.organism.seed)
    codec_of(model).requires_grad_(False)
    text_encoder_of(model).requires_grad_(False)
    _train_decoder(recipe, recipe.organism, folder, model, "organism", paired=True)
    save(model, tokenizer, folder)


def shuffled(recipe: Recipe, folder: Path) -> None:
    """Train the shuffled twin and write it to `folder`/shuffled.

    The twin starts from the organism. Its text encoder is frozen; cross-attention and text projection are
    drawn anew. It is then trained on captions of other pieces, drawn anew each time a clip is used.
    """
    model = load_model(folder)
    codec_of(model).requires_grad_(False)
    text_encoder_of(model).requires_grad_(False)
    forget_text(model, recipe.shuffled.seed)
    _train_decoder(recipe, recipe.shuffled, folder, model, "shuffled", paired=False)
    save(model, build_tokenizer(), folder / SHUFFLED)


def corpus_seed(seed: int, part: str) -> int:
    """Return the corpus seed of one part (train, held out, text); no piece belongs to two parts."""
    return seed_for("corpus", seed, part)


def _train_decoder(
    recipe: Recipe,
    part: Decoder,
    folder: Path,
    model: MusicgenForConditionalGeneration,
    name: str,
    *,
    paired: bool,
) -> None:
    """Train `model` on true captions or (not paired) on those of other pieces; frozen parameters stay."""
    codes = load_file(existing(folder / TOKENS))

    def caption(corpus_part: str, clip: int, draw: int) -> str:
        return caption_at(corpus_seed(recipe.corpus.seed, corpus_part), clip, draw, paired=paired).text

    use_fast_attention(model)
    task = DecoderTask(
        model,
        build_tokenizer(),
        pick(DecoderRecipe, part),
        codes["train"],
        partial(caption, "train"),
        codes["held_out"],
        partial(caption, "held out"),
    )
    inputs = fingerprint(name, part, recipe.corpus, recipe.codec, _digest(codes["train"]))
    _train(task, part, DECODER_BETAS, folder, name, inputs)
    model.eval()
    model.decoder.set_attn_implementation("sdpa")


def _train(
    task: Task, part: Training, betas: tuple[float, float], folder: Path, name: str, inputs: str
) -> None:
    """Train one task; `inputs` is the fingerprint of all that decides its result."""
    train(
        task,
        [optimizer_for(task.model, betas, part.weight_decay)],
        pick(Schedule, part),
        folder / STATES / f"{name}.safetensors",
        folder / f"{name}_curve.csv",
        inputs,
    )


def _load_codec(folder: Path) -> EncodecModel:
    """Return the trained codec; UsageError if the stage `codec` has not run."""
    return EncodecModel.from_pretrained(existing(folder / CODEC)).eval()


def _save_weights(part: nn.Module, path: Path) -> None:
    weights = {name: tensor.contiguous().clone() for name, tensor in part.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary)


def _digest(codes: Tensor) -> str:
    return fingerprint(int(codes.long().sum()), list(codes.shape))
