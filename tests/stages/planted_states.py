"""Planted re-encoded states: the model holds emotion, untrained decoders and networks an echo."""

import json
from pathlib import Path

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.contracts.tables import CLIPS, PROMPTS, SWAPS
from moodlens.contracts.tensors import CONDITIONS, MEMORIES, MODELS, NETWORKS
from moodlens.organism.composer import AFFECT
from moodlens.stages.reencode.stage import swap_table
from moodlens.store.shards import write_shard
from moodlens.store.tables import read_table, write_table
from tests.stages.planted import N_LAYERS, PER_SHARD, WIDTH

STEPS = (3, 40, 80)
N_DRAWS = 5


def plant_states(root: Path, *, holds: float) -> None:
    """Write data/reencoded for a workspace of `planted.plant`.

    Args:
        root: workspace.
        holds: how strongly the model's states hold the emotion of the music; every other reader with states
            holds a tenth.
    """
    data, folder = root / "data", root / "data" / "reencoded"
    clips, prompts = read_table(CLIPS, data / "clips.parquet"), read_table(PROMPTS, data / "prompts.csv")
    swaps = swap_table(clips, prompts, 0)
    write_table(swaps, SWAPS, folder / "swaps.parquet")
    rng = rng_for("planted states")
    music = np.array([AFFECT[emotion] for emotion in clips["emotion"]])
    text = {
        "own": music,
        "null": 0 * music,
        "swapped": np.array([AFFECT[e] for e in swaps["swapped_emotion"]]),
    }
    tensors = {"codec/history": rng.normal(size=(len(clips), len(STEPS), 6)).astype(np.float32)}
    names = [f"residual.{layer}" for layer in range(N_LAYERS)]
    for model in MODELS:
        gain = holds if model == "model" else 0.1 * holds
        pull = 0.2 if model == "model" else 3.0  # an untrained decoder reads the text back
        for name in names:
            axes, steps = rng.normal(size=(2, WIDTH)), rng.normal(size=(len(STEPS), WIDTH))
            noise = rng.normal(size=(len(clips), len(STEPS), WIDTH))
            for condition in CONDITIONS:
                felt = (gain * music + pull * text[condition]) @ axes
                states = felt[:, None] + steps + noise
                key = f"{model}/{condition}/{name}"
                tensors[f"{key}/steps"] = states.astype(np.float16)
                tensors[f"{key}/mean"] = states.mean(axis=1).astype(np.float16)

    def echo() -> np.ndarray:
        felt = 0.1 * holds * music @ rng.normal(size=(2, WIDTH))
        noise = rng.normal(size=(len(clips), len(MEMORIES), len(STEPS), WIDTH))
        return (felt[:, None, None] + noise).astype(np.float16)

    files = {"summary": tensors, "recurrent": {name: echo() for name in NETWORKS}}
    files |= {f"memory-{draw}": {name: echo() for name in names} for draw in range(N_DRAWS)}
    for shard in range(clips["shard"].max() + 1):
        rows = slice(PER_SHARD * shard, PER_SHARD * (shard + 1))
        for kind, stored in files.items():
            path = folder / f"{kind}-{shard:04d}.safetensors"
            write_shard(path, {key: values[rows] for key, values in stored.items()})
    manifest = {
        "model": {"audio_channels": 1, "d_model": WIDTH},
        "models": MODELS,
        "conditions": CONDITIONS,
        "hookpoints": names,
        "steps": STEPS,
        "n_draws": N_DRAWS,
        "memories": MEMORIES,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
