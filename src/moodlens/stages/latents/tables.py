"""Findings of a site as tables: every latent, the latents to look at with their evidence, the counts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.contracts.tables import LATENTS
from moodlens.contracts.tensors import shard_name
from moodlens.latents.evidence import (
    description,
    lifts_said,
    shares_said,
    token_shares,
    top_moments,
    word_lift,
)
from moodlens.prompts.lexicon import words_of
from moodlens.stages.latents.rows import activations_of
from moodlens.stages.latents.site import SiteFindings
from moodlens.store.shards import read_shard

N_PROMPTS = N_MOMENTS = 3
AFFECT = ("valence", "arousal")
COUNTS = ("site", "reading", "n_units", "n_firing", "n_tested", "n_over_2", "n_over_4", "n_selective")
TOP = (
    "site",
    "latent",
    "emotion",
    "ratio",
    "q",
    "null_q",
    "stability",
    "description",
    "prompts",
    "tokens",
    "moments",
)
"""Columns of metrics/latents_top.csv before one `mean_<emotion>` per emotion."""


def latent_table(found: SiteFindings) -> pd.DataFrame:
    """Return the table LATENTS of a site, latents that never fire left out."""
    own, related = found.readings["sae"].found, found.related
    use = found.pooled.mean(axis=0)
    alive = np.flatnonzero(use > 0)
    traits = np.arange(len(AFFECT), len(related.names))
    best = traits[np.abs(related.r[:, traits]).argmax(axis=1)]
    every = np.arange(len(use))
    columns: dict[str, Any] = {
        "row_id": [f"{found.site}/{latent}" for latent in every],
        "site": found.site,
        "latent": every,
        "emotion": np.array(found.design.emotions)[own.emotion],
        "ratio": own.ratio,
        "p": own.p,
        "q": own.q,
        "use": use,
        "stability": found.stability,
        "null_ratio": np.nan if found.null is None else found.null.ratio,
        "null_q": np.nan if found.null is None else found.null.q,
        "valence_r": related.r[:, 0],
        "arousal_r": related.r[:, 1],
        "descriptor": np.array(related.names)[best],
        "descriptor_r": related.r[every, best],
        "descriptor_q": related.q[every, best],
    }
    return pd.DataFrame(columns)[LATENTS.names].iloc[alive].reset_index(drop=True)


def shown_latents(found: SiteFindings, fdr: float, n: int) -> list[int]:
    """Return the latents to look at: selective ones, emotions in turn, lowest p and strongest first."""
    own, design = found.readings["sae"].found, found.design
    selective = own.selective(fdr)
    means = np.stack([found.pooled[design.labels == k].mean(axis=0) for k in range(design.n_classes)])
    strength = means[own.emotion, np.arange(means.shape[1])]
    queues = []
    for klass in range(design.n_classes):
        (members,) = np.nonzero(selective & (own.emotion == klass))
        queues.append(sorted(members, key=lambda i: (own.p[i], -strength[i])))
    turns = [queue[turn] for turn in range(n) for queue in queues if turn < len(queue)]
    return [int(latent) for latent in turns[:n]]


def top_table(found: SiteFindings, root: Path, frame_rate_hz: float, fdr: float, n: int) -> pd.DataFrame:
    """Return one row per latent to look at: what it fires on, and where to listen."""
    shown = shown_latents(found, fdr, n)
    design, rows = found.design, found.rows
    names = [f"mean_{emotion}" for emotion in design.emotions]
    if not shown:
        return pd.DataFrame(columns=[*TOP, *names])
    values, clips, places = activations_of(rows, found.sae, shown)
    tokens = np.array(rows.tokens) if rows.clips is None else _audio_tokens(found, root, clips, places)
    text_of = dict(zip(rows.texts["text_id"], rows.texts["text"], strict=True))
    texts = [text_of[text_id] for text_id in design.prompt_ids]
    bags = [frozenset(words_of(text)) for text in texts]
    own = found.readings["sae"].found
    out = []
    for column, latent in enumerate(shown):
        activation, pooled = values[:, column], found.pooled[:, latent]
        emotion = design.emotions[own.emotion[latent]]
        fires_on = token_shares(activation, tokens.tolist())
        said = shares_said(fires_on) if rows.clips is None else lifts_said(word_lift(pooled, bags))
        best = np.argsort(-pooled, kind="stable")[:N_PROMPTS]
        moments = []
        if rows.clips is not None:
            for moment in top_moments(activation, clips, places, frame_rate_hz, N_MOMENTS):
                clip_id = rows.clips["clip_id"].iloc[moment.clip]
                moments.append(f"{clip_id} {moment.start_s:.2f}-{moment.end_s:.2f} s")
        means = [pooled[design.labels == klass].mean() for klass in range(design.n_classes)]
        out.append(
            {
                "site": found.site,
                "latent": latent,
                "emotion": emotion,
                "ratio": own.ratio[latent],
                "q": own.q[latent],
                "null_q": np.nan if found.null is None else found.null.q[latent],
                "stability": found.stability[latent],
                "description": description(emotion, said, found.related, latent, fdr),
                "prompts": " | ".join(texts[i] for i in best),
                "tokens": shares_said(fires_on),
                "moments": " | ".join(moments),
                **dict(zip(names, means, strict=True)),
            }
        )
    return pd.DataFrame(out)


def _audio_tokens(found: SiteFindings, root: Path, clips: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The codebook-0 token that the state at each row predicts: step i writes frame i."""
    assert found.rows.clips is not None, "a decoder layer has clips"
    out = np.empty(len(clips), dtype=object)
    for shard, group in found.rows.clips.groupby("shard", sort=True):
        path = root / "data" / "codes" / shard_name("shard", int(str(shard)))
        codes = read_shard(path, ["codes"])["codes"]
        for index, row in zip(group.index, group["row"], strict=True):
            here = np.flatnonzero(clips == index)
            out[here] = [f"c{token}" for token in codes[row, 0][steps[here]]]
    return out


def count_rows(found: SiteFindings) -> list[dict[str, Any]]:
    """Return the rows of metrics/latents_counts.csv: every kind of unit, shuffled labels last."""
    rows = [
        {"site": found.site, "reading": name, **asdict(reading.counts)}
        for name, reading in found.readings.items()
    ]
    own = found.readings["sae"].counts
    rows.append({**asdict(own), "site": found.site, "reading": "shuffled_labels", **found.shuffled})
    return [{key: row[key] for key in COUNTS} for row in rows]
