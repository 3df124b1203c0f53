"""States step by step for a planted workspace: emotion in one layer and one stretch of time, and a beat."""

import json
from pathlib import Path

import numpy as np

from moodlens.capture.recorders import summarise
from moodlens.contracts.tables import ACOUSTICS, CLIPS
from moodlens.params.pipeline import Params
from moodlens.store.shards import write_shard
from moodlens.store.tables import read_table
from tests.stages.planted import CODEBOOKS, N_FRAMES, plant

N_STEPS, WIDTH, RATE_HZ = N_FRAMES + CODEBOOKS - 1, 8, 50.0
PLANTED_S = (1.2, 2.2)
"""Where layer 1 holds emotion, seconds of decoding; layer 0 never does."""


def plant_steps(root: Path, params: Params) -> None:
    """Write every dataset that `temporal` reads: layer 1 keeps the measured beat."""
    plant(root, "organism", params)
    data = root / "data"
    clips = read_table(CLIPS, data / "clips.parquet")
    tempo_bpm = read_table(ACOUSTICS, data / "acoustics.parquet").set_index("clip_id")["tempo_bpm"]
    rng = np.random.default_rng(11)
    names = sorted(set(clips["emotion"]))
    of_clip = np.array([names.index(emotion) for emotion in clips["emotion"]])
    own = {prompt_id: rng.normal(size=WIDTH) for prompt_id in dict.fromkeys(clips["prompt_id"])}
    prompt = np.stack([own[prompt_id] for prompt_id in clips["prompt_id"]])
    times_s = np.arange(N_STEPS) / RATE_HZ
    tempo_hz = tempo_bpm.loc[clips["clip_id"]].to_numpy() / 60
    beat = np.sin(2 * np.pi * tempo_hz[:, None] * times_s + rng.uniform(0, 6, (len(clips), 1)))
    inside = ((times_s >= PLANTED_S[0]) & (times_s < PLANTED_S[1]))[:, None]
    moods = rng.normal(size=(len(names), WIDTH))[of_clip]
    manifest = {"n_steps": N_STEPS, "capture": {"pooled_only": False, "step_stride": 1, "windows": []}}
    (data / "activations").mkdir(exist_ok=True)
    (data / "activations" / "manifest.json").write_text(json.dumps(manifest))
    for shard, group in clips.groupby("shard"):
        rows = group.index.to_numpy()
        states, summary = {}, {}
        for layer in range(2):
            noise = rng.normal(size=(len(rows), N_STEPS, WIDTH)) + prompt[rows, None] + 5
            if layer:
                noise += 1.5 * moods[rows, None] * inside + 2 * beat[rows, :, None] * np.eye(WIDTH)[0]
            name = f"residual.{layer}/cond"
            states[name] = noise.astype(np.float16)
            summary |= {f"{name}/{key}": value for key, value in summarise(noise, CODEBOOKS).items()}
        write_shard(data / "activations" / f"shard-{shard:04d}.safetensors", states)
        write_shard(data / "activations" / f"summary-{shard:04d}.safetensors", summary)
