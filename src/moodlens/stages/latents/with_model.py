"""What needs the model itself: the clips under null text, and the loss with the layer's output replaced."""

from dataclasses import dataclass

import numpy as np
import torch

from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.musicgen.splice import cross_entropies
from moodlens.contracts.tensors import shard_name
from moodlens.latents.baselines import pooled_by_text
from moodlens.latents.selectivity import Selectivity, measure, survival
from moodlens.sae.array_maps import error_map, latent_map
from moodlens.stages.latents.opening import Site
from moodlens.store.sae_files import load_sae
from moodlens.store.shards import read_shard
from moodlens.workspace.sae_rows import by_text, layer_of, null_text_blocks


@dataclass(frozen=True)
class UnderNullText:
    """The site on the re-encoded music without text."""

    selectivity: Selectivity  # of the SAE's latents
    numbers: dict[str, float]
    vectors: dict[str, np.ndarray]  # for the readers: states and latents of model and twin, by prompt


def under_null_text(
    site: Site, own: Selectivity, backend: MusicgenBackend, twin: MusicgenBackend
) -> UnderNullText:
    """Return selectivity on the re-encoded music without text, and how well the SAE fits those states."""
    rows, fdr = site.rows, site.params.latents.fdr
    maps = {
        "sae": latent_map(site.sae),
        "error": error_map(site.sae, site.sample.mean(axis=0)),
        "states": lambda x: x,
    }
    blocks = by_text(null_text_blocks(site.work, rows, backend))
    pooled = pooled_by_text(blocks, maps, len(rows.texts))
    null = measure(pooled["sae"][site.emotional], site.design, site.settings).selectivity
    error, distance = pooled["error"].mean(axis=0)
    numbers = {
        "null_selective": float(null.selective(fdr).sum()),
        "null_survive": float(survival(own, null, fdr).sum()),
        "null_fvu": float(error / distance),
    }
    vectors = {f"null_{name}": pooled[key][site.emotional] for name, key in NULL_VECTORS.items()}
    if (site.folder / "twin").is_dir():
        twin_maps = {"sae": latent_map(load_sae(site.folder / "twin")), "states": lambda x: x}
        twin_blocks = by_text(null_text_blocks(site.work, rows, twin))
        of_twin = pooled_by_text(twin_blocks, twin_maps, len(rows.texts))
        counts = measure(of_twin["sae"][site.emotional], site.design, site.settings).counts
        numbers["null_twin_selective"] = float(counts.n_selective)
        vectors |= {f"null_twin_{name}": of_twin[key][site.emotional] for name, key in NULL_VECTORS.items()}
    return UnderNullText(null, numbers, vectors)


NULL_VECTORS = {"states": "states", "latents": "sae"}
"""Name of a vector for the readers -> map that pools it."""


def losses(site: Site, backend: MusicgenBackend) -> dict[str, float]:
    """Return the cross-entropy on clips of held-out wordings, the layer's output replaced; {} without."""
    rows, sae = site.rows, site.sae
    assert rows.clips is not None, "a decoder layer has clips"
    held_out = rows.texts.loc[rows.texts["split"] == "test", ["text_id", "text"]]
    text_of = dict(zip(held_out["text_id"], held_out["text"], strict=True))
    clips = rows.clips[rows.clips["prompt_id"].isin(text_of)].head(site.params.latents.splice_clips)
    if clips.empty:
        return {}
    codes = []
    for shard, row in zip(clips["shard"], clips["row"], strict=True):
        path = site.work.root / "data" / "codes" / shard_name("shard", int(shard))
        codes.append(read_shard(path, ["codes"])["codes"][int(row)])
    mean = torch.from_numpy(site.sample.mean(axis=0).astype(np.float32))
    edits = {
        "original": None,
        "sae": lambda x: sae(x),
        "mean": lambda x: mean.expand_as(x),
        "zero": torch.zeros_like,
    }
    name, layer, _ = layer_of(rows.site)
    texts = [text_of[prompt_id] for prompt_id in clips["prompt_id"]]
    return cross_entropies(backend, np.stack(codes), texts, (name, layer), edits)
