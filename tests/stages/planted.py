"""Workspaces whose truth is planted: real prompts, and files as if one of the three organisms had made them.

Emotion moves the text code unless the model is random, and the music only if it is the true organism.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from moodlens.contracts.tables import ACOUSTIC_NAMES, ACOUSTICS, CLIPS, PROMPTS
from moodlens.organism.composer import AFFECT
from moodlens.params.pipeline import Params, parse_params
from moodlens.prompts.grammar import pieces
from moodlens.store.shards import write_shard
from moodlens.store.tables import read_table, write_table
from tests.stages.prompted import write_prompts

ROOT = Path(__file__).parents[2]
N_SEEDS, PER_SHARD, N_LAYERS, WIDTH = 2, 16, 3, 48
CODEBOOKS, BOOK_SIZE, N_FRAMES = 4, 32, 150


def planted_params(**prompts: object) -> Params:
    """Return the project's parameters with fewer relabellings, still enough for p < .001."""
    params = parse_params(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    return replace(
        params,
        prompts=replace(params.prompts, **prompts),
        signal=replace(params.signal, n_permutations=1200, n_bootstrap=200),
        probe=replace(params.probe, n_permutations=1200, n_bootstrap=200, ridge=0.1),
    )


def plant(root: Path, kind: str, params: Params) -> None:
    """Write every dataset that `signal` and `probe` read; kind: organism, shuffled or random."""
    write_prompts(params, root)
    data = root / "data"
    table = read_table(PROMPTS, data / "prompts.csv")
    rng = np.random.default_rng(0)
    affect = np.array([AFFECT[emotion] for emotion in table["emotion"]])
    bow, text, twin = _text(table, affect if kind != "random" else 0 * affect, rng)
    projected = text @ rng.normal(size=(text.shape[1], WIDTH)) / 8
    pooled = {"bow": bow, "text": text, "twin": twin, "projected": projected}
    write_shard(
        data / "embeddings" / "embeddings.safetensors", {k: v.astype(np.float32) for k, v in pooled.items()}
    )
    of_clip = np.repeat(np.arange(len(table)), N_SEEDS)
    heard = 2 * affect[of_clip] if kind == "organism" else np.zeros((len(of_clip), 2))
    # The words leak into the sound of every model, trained or not.
    leak = 0.3 * twin[of_clip] @ rng.normal(size=(twin.shape[1], 6))
    music = np.hstack([heard + 0.25 * rng.normal(size=heard.shape), leak + rng.normal(size=leak.shape)])
    clips = _clips(table, of_clip)
    write_table(clips, CLIPS, data / "clips.parquet")
    descriptors = {name: music @ rng.normal(size=8) * 0.05 + 0.5 for name in ACOUSTIC_NAMES}
    descriptors["tempo_other_bpm"] = np.full(len(clips), np.nan)
    descriptors["tempo_bpm"] = 100 + 15 * music[:, 1]
    write_table(
        pd.DataFrame({"clip_id": clips["clip_id"], **descriptors}), ACOUSTICS, data / "acoustics.parquet"
    )
    tensors = {}
    for prefix, source in (("", projected), ("twin/", twin)):
        for layer in range(N_LAYERS):
            read = source[of_clip] @ rng.normal(size=(source.shape[1], WIDTH)) / 4
            made = music @ rng.normal(size=(8, WIDTH)) * 0.2
            noise = 0.3 * rng.normal(size=(len(of_clip), WIDTH)) + 2
            tensors[f"{prefix}residual.{layer}/cond/mean"] = (read + made + noise).astype(np.float32)
    tensors["codec/latent/mean"] = (music @ rng.normal(size=(8, 16))).astype(np.float32)
    codes = _codes(music, rng)
    for shard in range(clips["shard"].max() + 1):
        rows = slice(PER_SHARD * shard, PER_SHARD * (shard + 1))
        write_shard(
            data / "activations" / f"summary-{shard:04d}.safetensors",
            {name: values[rows] for name, values in tensors.items()},
        )
        write_shard(data / "codes" / f"shard-{shard:04d}.safetensors", {"codes": codes[rows]})


def _text(table: pd.DataFrame, affect: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    words = [pieces(text) for text in table["text"]]
    vocabulary = sorted({word for row in words for word in row})
    bow = np.array([[float(word in row) for word in vocabulary] for row in words])
    shares = bow / bow.sum(axis=1, keepdims=True)
    text = shares @ rng.normal(size=(len(vocabulary), 48)) + 0.4 * affect @ rng.normal(size=(2, 48))
    return bow, text, shares @ rng.normal(size=(len(vocabulary), 48))


def _codes(music: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tokens drawn from a distribution that the clip's music tilts."""
    logits = music @ rng.normal(size=(music.shape[1], CODEBOOKS * BOOK_SIZE)) * 0.6
    noise = rng.gumbel(size=(len(music), CODEBOOKS, N_FRAMES, BOOK_SIZE))
    return (logits.reshape(len(music), CODEBOOKS, 1, BOOK_SIZE) + noise).argmax(axis=3).astype(np.int16)


def _clips(table: pd.DataFrame, of_clip: np.ndarray) -> pd.DataFrame:
    seed, number = np.arange(len(of_clip)) % N_SEEDS, np.arange(len(of_clip))
    prompt_id = table["prompt_id"].to_numpy()[of_clip]
    clip_id = [f"{prompt}-s{draw}" for prompt, draw in zip(prompt_id, seed, strict=True)]
    return pd.DataFrame(
        {
            "clip_id": clip_id,
            "prompt_id": prompt_id,
            "emotion": table["emotion"].to_numpy()[of_clip],
            "seed": seed,
            "shard": number // PER_SHARD,
            "row": number % PER_SHARD,
            "n_frames": N_FRAMES,
            "n_steps": N_FRAMES + CODEBOOKS - 1,
            "sample_rate_hz": 16000,
            "duration_s": 3.0,
            "peak": 0.5,
            "rms": 0.1,
            "clipped_fraction": 0.0,
            "finite_fraction": 1.0,
            "audio_path": [f"audio/{name}.flac" for name in clip_id],
        }
    )
