"""The training stages of models/organism/dvc.yaml, one function per stage, named after it.

Each function takes the recipe and the folder models/organism, and writes its outputs there. Files that are
only needed to make the weights stay out of git: `codec/`, `*.safetensors` of single parts, and the states of
unfinished trainings in `work/`.

The stages `evaluate` and `card` live in modules of their own: DVC compares the files that a stage imports, so
an edit of the model card does not make the weights stale.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import EncodecModel, MusicgenForConditionalGeneration

from moodlens.base.seeding import seed_for
from moodlens.organism.architecture import (
    CODEBOOK_SIZE,
    CODEC,
    Shape,
    build_random,
    build_tokenizer,
    codec_config,
    codec_of,
    existing,
    forget_text,
    load_codec,
    load_decoder,
    save,
    save_shared,
    silence_text,
    text_encoder_of,
)
from moodlens.organism.codec import CodecRecipe, CodecTask
from moodlens.organism.corpus import caption_at, codebook_entropies, score_at, synthesise, tokenise
from moodlens.organism.recipe import (
    HELD_OUT,
    TOKENS,
    TRAIN,
    Decoder,
    Recipe,
    Training,
    corpus_seed,
    fingerprint,
    folder_of,
    pick,
)
from moodlens.organism.train_decoder import (
    DecoderRecipe,
    DecoderTask,
    TextRegime,
    TokenisedPieces,
    use_fast_attention,
)
from moodlens.organism.train_text import TextRecipe, TextTask
from moodlens.organism.training_loop import Schedule, Task, optimizer_for, train
from moodlens.prompts.factors import Factors
from moodlens.store.atomic import replacing

TEXT = Path("text.safetensors")
MUSIC = "music-only"
STATES = Path("work/states")

NO_TEXT = TextRegime(never=1.0, lost=0.0, late=0.0, paired=True)
"""The regime of the base."""

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
    """Encode the synthesised corpus; write codes, int16 (clip, codebook, frame), and turns, (clip,)."""
    part, encoder = recipe.corpus, load_codec(folder)
    written = {}
    for name, n_clips in ((TRAIN, part.n_clips), (HELD_OUT, part.n_held_out)):
        codes, turns = tokenise(encoder, corpus_seed(part.seed, name), n_clips)
        written |= {f"{name} codes": codes, f"{name} turns": turns}
    entropies = codebook_entropies(written[f"{TRAIN} codes"], CODEBOOK_SIZE)
    print("entropy per codebook, nats: " + " ".join(f"{value:.2f}" for value in entropies))
    with replacing(folder / TOKENS) as temporary:
        save_file(written, temporary)


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


def shared(recipe: Recipe, folder: Path) -> None:
    """Write the text encoder and the codec of the whole family."""
    model = build_random(recipe.text.seed, len(build_tokenizer()), load_codec(folder))
    text_encoder_of(model).load_state_dict(load_file(existing(folder / TEXT)))
    save_shared(model, folder)


def music(recipe: Recipe, folder: Path) -> None:
    """Train a decoder on music without any text and write it: the base of every sibling.

    The model `music-only` is this decoder. Its text projection is zero, so that no text can change anything.
    """
    base = _Job(recipe.music, recipe.music.seed, NO_TEXT, MUSIC)
    _train_base(recipe, folder, base)


def sibling(recipe: Recipe, folder: Path, name: str) -> None:
    """Train one sibling (a field of `Family`) and write it.

    All siblings start from the stage `music` with the same new cross-attention and text projection. They are
    given the same clips in the same order and as many steps. The text encoder is that of the stage `text`,
    frozen.
    """
    regime = pick(TextRegime, getattr(recipe.family, name))
    _train_sibling(recipe, folder, _Job(recipe.siblings, recipe.siblings.seed, regime, name), MUSIC)


def small(recipe: Recipe, folder: Path, seed: int) -> None:
    """Train a small base, and from it a small memory and a small reader, by another training seed."""
    part = recipe.small
    sizes = {"d_model": part.d_model, "n_layers": part.n_layers, "n_heads": part.n_heads}
    shape = replace(Shape(), **sizes, d_ffn=4 * part.d_model)
    base = f"small-{seed}/{MUSIC}"
    music_part = replace(recipe.music, n_steps=part.music_steps, seed=seed)
    _train_base(recipe, folder, _Job(music_part, seed, NO_TEXT, base, shape))
    for name in ("memory", "reader"):
        regime = pick(TextRegime, getattr(recipe.family, name))
        sibling_part = replace(recipe.siblings, n_steps=part.sibling_steps, seed=seed)
        _train_sibling(recipe, folder, _Job(sibling_part, seed, regime, f"small-{seed}/{name}", shape), base)


@dataclass(frozen=True)
class _Job:
    """One training of a decoder."""

    part: Decoder
    seed: int  # of the weights
    regime: TextRegime
    name: str  # of the model, and its folder
    shape: Shape | None = None


def _train_base(recipe: Recipe, folder: Path, job: _Job) -> None:
    model = build_random(job.seed, len(build_tokenizer()), load_codec(folder), job.shape)
    _train_decoder(recipe, folder, job, model)
    silence_text(model)
    save(model, build_tokenizer(), folder / job.name, shared=folder)


def _train_sibling(recipe: Recipe, folder: Path, job: _Job, base: str) -> None:
    tokenizer = build_tokenizer()
    model = build_random(job.seed, len(tokenizer), load_codec(folder), job.shape)
    load_decoder(model, folder / base)
    text_encoder_of(model).load_state_dict(load_file(existing(folder / TEXT)))
    forget_text(model, job.seed)
    _train_decoder(recipe, folder, job, model)
    save(model, tokenizer, folder_of(folder, job.name), shared=folder)


def _train_decoder(recipe: Recipe, folder: Path, job: _Job, model: MusicgenForConditionalGeneration) -> None:
    """Train the decoder and the text projection of `model`; text encoder and codec stay."""
    tokenised = load_file(existing(folder / TOKENS))
    codec_of(model).requires_grad_(False)
    text_encoder_of(model).requires_grad_(False)

    def pieces(corpus_part: str) -> TokenisedPieces:
        seed = corpus_seed(recipe.corpus.seed, corpus_part)

        def caption(clip: int, draw: int) -> str:
            return caption_at(seed, clip, draw, paired=job.regime.paired).text

        return TokenisedPieces(tokenised[f"{corpus_part} codes"], tokenised[f"{corpus_part} turns"], caption)

    use_fast_attention(model)
    settings = pick(DecoderRecipe, job.part)
    task = DecoderTask(model, build_tokenizer(), settings, job.regime, pieces(TRAIN), pieces(HELD_OUT))
    inputs = fingerprint(job.name, job.part, job.regime, recipe.corpus, recipe.codec, _digest(tokenised))
    folder_of(folder, job.name).mkdir(parents=True, exist_ok=True)
    _train(task, job.part, DECODER_BETAS, folder, job.name, inputs)
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


def _save_weights(part: nn.Module, path: Path) -> None:
    weights = {name: tensor.contiguous().clone() for name, tensor in part.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary)


def _digest(tokenised: dict[str, Tensor]) -> str:
    return fingerprint({name: [int(part.long().sum()), list(part.shape)] for name, part in tokenised.items()})
