"""A small whole page, every section filled, and tables like those the pipeline writes."""

import numpy as np
import pandas as pd

from moodlens.report.records import (
    Bar,
    Cell,
    Chapter,
    Check,
    Descriptor,
    Fact,
    Figure,
    Finding,
    Grid,
    Group,
    Listening,
    Page,
    Player,
    Provenance,
    Rung,
    Verdict,
)

AFFECT = {"happy": (0.7, 0.4), "sad": (-0.6, -0.5), "calm": (0.6, -0.72), "energetic": (0.5, 0.9)}
SETS = ("generic", "descriptive", "scenes")


def example_page(prompt: str = "a happy tune") -> Page:
    """Return a page with one rung, one player and a finding per section."""
    bars = (
        Bar("text encoder", 0.91, "91 %", "[84, 96] %, 8 prompts", 0.84, 0.96, "result"),
        Bar("chance", 0.25, "25 %", kind="chance"),
    )
    rung = Rung(
        1, "text code", "Does the text code carry it?", "strong", "It does.", "p < 0.001", "Go on.", bars
    )
    untested = Rung(3, "use", "Is it used?", "not tested", "", "", "Steer it.")
    player = Player(
        "happy-000-s0",
        prompt,
        "generic",
        0,
        4.0,
        "data:audio/flac;base64,ZkxhQw==",
        (0.0, 1.0),
        (Descriptor("tempo", "120 BPM", "fast", True), Descriptor("mode", "minor (−0.1)", "major", False)),
    )
    figure = Figure('<svg class="figure" role="img" aria-label="effect by layer"></svg>', "What it shows.")
    grid = Grid("Effect", ("site", "effect"), ((Cell("layer 0"), Cell("0.31", "strong")),), ("A note.",))
    finding = Finding("Emotion is strongest at layer 0.", (figure,), (grid,))
    return Page(
        title="Is emotion encoded?",
        subject="organism · 8 clips",
        verdict=Verdict(
            "Emotion reaches the text code.",
            "And no further.",
            "Buy prompts.",
            (rung, untested),
            (Fact("Finding (states)", "States summarise: run `it`.", "Accuracy 83 %."),),
        ),
        design=(Fact("prompts", "8", "2 per emotion"),),
        listening=Listening("By rule.", (Group("happy", (player,)),)),
        chapters=tuple(
            Chapter(key, title, finding, "The figures", "dvc repro", "metrics")
            for key, title in (("signal", "Signal"), ("probe", "Probe"), ("acoustics", "Acoustics"))
        ),
        checks=(Check("prompts", True, 5, 0, 8, "checks/prompts.html"),),
        provenance=Provenance((Fact("model", "organism"),), (Fact("data/audio", "abc.dir"),), ()),
        glossary=(Fact("p", "A share."),),
    )


def tables(n_prompts: int = 4, n_seeds: int = 2) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return prompts, clips and acoustics in which tempo and brightness follow arousal, mode valence."""
    rng = np.random.default_rng(7)
    prompts, clips, acoustics = [], [], []
    for emotion, (valence, arousal) in AFFECT.items():
        for i in range(n_prompts):
            prompt_id = f"{emotion}-{i:03d}"
            prompts.append(
                {
                    "prompt_id": prompt_id,
                    "emotion": emotion,
                    "valence": valence,
                    "arousal": arousal,
                    "set": SETS[i % 3],
                    "template": "t0",
                    "wording": f"{emotion}-{i % 3}",
                    "split": "train",
                    "text": f"{emotion} music number {i}",
                }
            )
            for seed in range(n_seeds):
                clip_id = f"{prompt_id}-s{seed}"
                clips.append(
                    {
                        "clip_id": clip_id,
                        "prompt_id": prompt_id,
                        "emotion": emotion,
                        "seed": seed,
                        "shard": 0,
                        "row": len(clips),
                        "n_frames": 50,
                        "n_steps": 53,
                        "sample_rate_hz": 16000,
                        "duration_s": 1.0,
                        "peak": 0.5,
                        "rms": 0.1,
                        "clipped_fraction": 0.0,
                        "finite_fraction": 1.0,
                        "audio_path": f"audio/{clip_id}.flac",
                    }
                )
                acoustics.append(
                    {
                        "clip_id": clip_id,
                        "tempo_bpm": 105 + 50 * arousal,
                        "onset_rate_hz": 4 + 2 * arousal + 0.1 * rng.normal(),
                        "pulse_clarity": 0.5,
                        "loudness_db": -20 + 6 * arousal + 0.1 * rng.normal(),
                        "dynamic_range_db": 10.0,
                        "low_energy_fraction": 0.5,
                        "centroid_hz": 1500 + 700 * arousal + rng.normal(),
                        "rolloff_hz": 3000.0,
                        "flatness": 0.1,
                        "zero_crossing_rate_hz": 900.0,
                        "mode_margin": 0.2 * np.sign(valence),
                        "tempo_other_bpm": float("nan"),
                    }
                )
    return pd.DataFrame(prompts), pd.DataFrame(clips), pd.DataFrame(acoustics)
