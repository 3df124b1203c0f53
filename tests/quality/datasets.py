"""Small lawful datasets, and the parameters they are lawful under; each test breaks one of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import ACOUSTICS, ACTIVATIONS, CLIPS, EMBEDDINGS, PROMPTS
from moodlens.contracts.tensors import ENCODERS
from moodlens.params.pipeline import Params, parse_params
from moodlens.store.tables import conform

EMOTIONS = ("happy", "sad", "calm", "energetic")
N_PROMPTS = 3
N_LAYERS = 2
N_WORDS = 9
MODEL = ModelInfo("tiny", "", "0" * 64, N_LAYERS, 16, 8, 4, 32, 50.0, 16000, "float32", "cpu")
N_FRAMES = 50
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Datasets:
    """One frame per dataset."""

    prompts: pd.DataFrame
    clips: pd.DataFrame
    files: pd.DataFrame
    tokens: pd.DataFrame
    activations: pd.DataFrame
    shards: pd.DataFrame
    embeddings: pd.DataFrame
    shapes: pd.DataFrame
    acoustics: pd.DataFrame


def lawful_params() -> Params:
    """The project's parameters at the size of these datasets."""
    raw = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
    params = parse_params(raw)
    return replace(
        params,
        prompts=replace(params.prompts, emotions=EMOTIONS, n_per_emotion=N_PROMPTS),
        generate=replace(params.generate, n_seeds=2, duration_s=1.0),
    )


def lawful_datasets() -> Datasets:
    """Datasets that pass every suite under `lawful_params`."""
    prompts = conform(
        pd.DataFrame(
            {
                "prompt_id": f"{emotion}-{n:02d}",
                "emotion": emotion,
                "valence": 0.5,
                "arousal": -0.5,
                "set": "generic",
                "template": "{wording} piece",
                "wording": f"{emotion}{n}",
                "split": SPLITS[n],
                "text": f"{emotion}{n} piece",
            }
            for emotion in EMOTIONS
            for n in range(N_PROMPTS)
        ),
        PROMPTS,
        "prompts.csv",
    )
    pairs = [(prompt, seed) for prompt in prompts.to_dict("records") for seed in range(2)]
    clips = conform(
        pd.DataFrame(
            {
                "clip_id": f"{prompt['prompt_id']}-s{seed}",
                "prompt_id": prompt["prompt_id"],
                "emotion": prompt["emotion"],
                "seed": seed,
                "shard": row // 16,
                "row": row % 16,
                "n_frames": N_FRAMES,
                "n_steps": N_FRAMES + 3,
                "sample_rate_hz": MODEL.sample_rate_hz,
                "duration_s": 1.0,
                "peak": 0.5,
                "rms": 0.1,
                "clipped_fraction": 0.0,
                "finite_fraction": 1.0,
                "audio_path": f"audio/{prompt['prompt_id']}-s{seed}.flac",
            }
            for row, (prompt, seed) in enumerate(pairs)
        ),
        CLIPS,
        "clips.parquet",
    )
    files = pd.DataFrame(
        {
            "clip_id": clips["clip_id"],
            "state": "readable",
            "file_rate_hz": 16000.0,
            "file_duration_s": 1.0,
            "file_rms": 0.1,
            "file_finite_fraction": 1.0,
        }
    )
    activations = conform(
        pd.DataFrame(
            {
                "row_id": f"{clip['clip_id']}/residual.{layer}/cond",
                "clip_id": clip["clip_id"],
                "hookpoint": f"residual.{layer}",
                "site": "residual",
                "layer": layer,
                "half": "cond",
                "shard": clip["shard"],
                "row": clip["row"],
                "n_steps": clip["n_steps"],
                "width": MODEL.d_model,
                "finite_fraction": 1.0,
                "norm_mean": 3.0,
                "norm_max": 5.0,
                "absmax": 2.0,
                "dead_fraction": 0.0,
                "step_change": 0.4,
            }
            for clip in clips.to_dict("records")
            for layer in range(N_LAYERS)
        ),
        ACTIVATIONS,
        "index.parquet",
    )
    width = {"bow": N_WORDS, "text": MODEL.d_text, "projected": MODEL.d_model, "twin": MODEL.d_text}
    embeddings = conform(
        pd.DataFrame(
            {
                "row_id": f"{prompt}/{encoder}",
                "prompt_id": prompt,
                "encoder": encoder,
                "n_tokens": 3,
                "width": width[encoder],
                "norm": 1.0,
                "finite_fraction": 1.0,
            }
            for prompt in prompts["prompt_id"]
            for encoder in ENCODERS
        ),
        EMBEDDINGS,
        "index.parquet",
    )
    acoustics = pd.DataFrame({"clip_id": clips["clip_id"]})
    for column in ACOUSTICS.columns[1:]:
        acoustics[column.name] = np.full(len(clips), (column.low + column.high) / 2)
    shards = pd.DataFrame({"file": ["codes/shard-0000.safetensors", "codes/shard-0001.safetensors"]})
    shards["state"] = "readable"
    shapes = pd.DataFrame({"encoder": ENCODERS})
    shapes["n_rows"] = len(prompts)
    shapes["width"] = [width[encoder] for encoder in ENCODERS]
    tokens = pd.DataFrame({"clip_id": clips["clip_id"], "distinct_frames": 0.9})
    return Datasets(prompts, clips, files, tokens, activations, shards, embeddings, shapes, acoustics)
