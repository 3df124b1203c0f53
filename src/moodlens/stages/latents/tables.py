"""Results of a site as tables: every latent, the latents to show with their evidence, counts by kind."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.contracts.tables import LATENTS
from moodlens.contracts.tensors import shard_name
from moodlens.latents.baselines import chunks_of
from moodlens.latents.evidence import (
    description,
    format_lifts,
    format_shares,
    shown_latents,
    token_shares,
    top_moments,
    word_lift,
)
from moodlens.prompts.lexicon import words_of
from moodlens.sae.array_maps import latent_map
from moodlens.stages.latents.site import SiteResults
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


def latent_table(results: SiteResults) -> pd.DataFrame:
    """Return the table LATENTS of a site without the latents that never fire."""
    own, related = results.units["sae"].selectivity, results.related
    use = results.pooled.mean(axis=0)
    alive = np.flatnonzero(use > 0)
    descriptors = np.arange(len(AFFECT), len(related.names))
    best = descriptors[np.abs(related.r[:, descriptors]).argmax(axis=1)]
    latents = np.arange(len(use))
    columns: dict[str, Any] = {
        "row_id": [f"{results.site}/{latent}" for latent in latents],
        "site": results.site,
        "latent": latents,
        "emotion": np.array(results.design.emotions)[own.emotion],
        "ratio": own.ratio,
        "p": own.p,
        "q": own.q,
        "use": use,
        "stability": results.stability.cosine,
        "null_ratio": np.nan if results.null is None else results.null.ratio,
        "null_q": np.nan if results.null is None else results.null.q,
        "valence_r": related.r[:, 0],
        "arousal_r": related.r[:, 1],
        "descriptor": np.array(related.names)[best],
        "descriptor_r": related.r[latents, best],
        "descriptor_q": related.q[latents, best],
    }
    return pd.DataFrame(columns)[LATENTS.names].iloc[alive].reset_index(drop=True)


def top_table(results: SiteResults, root: Path, frame_rate_hz: float, fdr: float, n: int) -> pd.DataFrame:
    """Return one row per latent to show: what it fires on, and where to listen to it."""
    design, rows, own = results.design, results.rows, results.units["sae"].selectivity
    shown = shown_latents(own, results.pooled, design, fdr, n)
    names = [f"mean_{emotion}" for emotion in design.emotions]
    if not shown:
        return pd.DataFrame(columns=[*TOP, *names])
    values, clips, positions = _activations(results, shown)
    tokens = np.array(rows.tokens) if rows.clips is None else _audio_tokens(results, root, clips, positions)
    text_of = dict(zip(rows.texts["text_id"], rows.texts["text"], strict=True))
    texts = [text_of[text_id] for text_id in design.prompt_ids]
    bags = [frozenset(words_of(text)) for text in texts]
    table = []
    for column, latent in enumerate(shown):
        activation, pooled = values[:, column], results.pooled[:, latent]
        emotion = design.emotions[own.emotion[latent]]
        shares = format_shares(token_shares(activation, tokens.tolist()))
        words = shares if rows.clips is None else format_lifts(word_lift(pooled, bags))
        best = np.argsort(-pooled, kind="stable")[:N_PROMPTS]
        moments = []
        if rows.clips is not None:
            for moment in top_moments(activation, clips, positions, frame_rate_hz, N_MOMENTS):
                clip_id = rows.clips["clip_id"].iloc[moment.clip]
                moments.append(f"{clip_id} {moment.start_s:.2f}-{moment.end_s:.2f} s")
        means = [pooled[design.labels == klass].mean() for klass in range(design.n_classes)]
        table.append(
            {
                "site": results.site,
                "latent": latent,
                "emotion": emotion,
                "ratio": own.ratio[latent],
                "q": own.q[latent],
                "null_q": np.nan if results.null is None else results.null.q[latent],
                "stability": results.stability.cosine[latent],
                "description": description(emotion, words, results.related, latent, fdr),
                "prompts": " | ".join(texts[i] for i in best),
                "tokens": shares,
                "moments": " | ".join(moments),
                **dict(zip(names, means, strict=True)),
            }
        )
    return pd.DataFrame(table)


def _activations(results: SiteResults, latents: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations of a few latents at every row, (row, latent), and the clip and position of each row."""
    to_latents = latent_map(results.sae)
    values, clips, positions = [], [], []
    for block in results.rows.blocks():
        clips.append(block.clips)
        positions.append(block.positions)
        values += [to_latents(part)[:, latents] for part, _ in chunks_of([(block.values, block.texts)])]
    return np.concatenate(values), np.concatenate(clips), np.concatenate(positions)


def _audio_tokens(results: SiteResults, root: Path, clips: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The codebook-0 token that the state at each row predicts: step i writes frame i."""
    assert results.rows.clips is not None, "a decoder layer has clips"
    tokens = np.empty(len(clips), dtype=object)
    for shard, group in results.rows.clips.groupby("shard", sort=True):
        path = root / "data" / "codes" / shard_name("shard", int(str(shard)))
        codes = read_shard(path, ["codes"])["codes"]
        for index, row in zip(group.index, group["row"], strict=True):
            here = np.flatnonzero(clips == index)
            tokens[here] = [f"c{token}" for token in codes[row, 0][steps[here]]]
    return tokens


def count_rows(results: SiteResults) -> list[dict[str, Any]]:
    """Return the rows of metrics/latents_counts.csv: every kind of unit, then the shuffled labels."""
    rows = [
        {"site": results.site, "reading": name, **asdict(unit.counts)} for name, unit in results.units.items()
    ]
    own = results.units["sae"].counts
    rows.append({**asdict(own), "site": results.site, "reading": "shuffled_labels", **results.shuffled})
    return [{key: row[key] for key in COUNTS} for row in rows]
