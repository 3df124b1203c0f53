"""The sites that `signal` and `probe` read: stored files in, Gram matrices over the emotional prompts out."""

import numpy as np

from moodlens.base.errors import ContractError, must
from moodlens.codes.histograms import hellinger_histograms
from moodlens.contracts.tensors import CODEC_MEAN, shard_name
from moodlens.stats.gram import SiteGram, site_gram, standardised
from moodlens.store.shards import read_shard, shard_names
from moodlens.workspace.design import REMAKE, Workspace, acoustic_table, clip_table, tensors_of

TWIN = "twin/"


def embedding(work: Workspace, encoder: str) -> SiteGram:
    """Return the site of one pooled embedding; bag of words with every word at variance 1.

    Raw counts let words that bear no emotion but are frequent own the distances; standardised, the bag of
    words is the stronger baseline.
    """
    path = work.root / "data" / "embeddings" / "embeddings.safetensors"
    rows = read_shard(path, [encoder])[encoder]
    if len(rows) != work.n_table:
        rule = f"have one row for each of the {work.n_table} prompts"
        raise ContractError(must(f"embedding {encoder}", rule, len(rows), next_step="Run `dvc repro embed`"))
    rows = rows[work.rows].astype(np.float64)
    return site_gram(encoder, standardised(rows) if encoder == "bow" else rows, np.arange(len(rows)))


def layers(work: Workspace, twin: bool) -> list[SiteGram]:
    """Return one site per hookpoint and half, means over steps; of the model or its random twin."""
    clips = clip_table(work)
    folder = work.root / "data" / "activations"
    first = folder / shard_name("summary", int(clips["shard"].iloc[0]))
    prefix, end = TWIN if twin else "", "/mean"
    keys = [key for key in shard_names(first) if key.endswith(end) and key.startswith(TWIN) == twin]
    keys = [key for key in keys if key != CODEC_MEAN]
    keys.sort(key=lambda key: place_of(key.removeprefix(prefix).removesuffix(end)))
    if not keys:
        got = "no twin/<hookpoint>/<half>/mean" if twin else "no <hookpoint>/<half>/mean"
        raise ContractError(must(first.name, "hold summaries of layers", got, next_step=REMAKE))
    stacked = tensors_of(work, clips, "activations", "summary", keys)
    prompts = clips["prompt"].to_numpy()
    return [site_gram(key.removeprefix(prefix).removesuffix(end), stacked[key], prompts) for key in keys]


def place_of(site: str) -> tuple[str, int, str]:
    """Return (site, layer, half) of a hookpoint and half, the order of the sweep.

    >>> place_of("residual.3/cond")
    ('residual', 3, 'cond')
    """
    hookpoint, half = site.split("/")
    name, layer = hookpoint.rsplit(".", 1)
    return name, int(layer), half


def acoustics(work: Workspace) -> SiteGram:
    """Return the acoustic descriptors, each at variance 1."""
    clips = clip_table(work)
    table = acoustic_table(work).loc[clips["clip_id"]]
    return site_gram("acoustics", standardised(table.to_numpy(dtype=np.float64)), clips["prompt"].to_numpy())


def tempos(work: Workspace) -> tuple[np.ndarray, np.ndarray]:
    """Return the tempo of every clip in BPM and its emotion's index."""
    clips = clip_table(work)
    tempo = acoustic_table(work).loc[clips["clip_id"], "tempo_bpm"].to_numpy(dtype=np.float64)
    return tempo, work.design.labels[clips["prompt"].to_numpy()]


def codec(work: Workspace) -> SiteGram:
    """Return the mean codec latents."""
    clips = clip_table(work)
    latents = tensors_of(work, clips, "activations", "summary", [CODEC_MEAN])[CODEC_MEAN]
    return site_gram("codec", latents, clips["prompt"].to_numpy())


def tokens(work: Workspace) -> SiteGram:
    """Return the audio-token histograms."""
    clips = clip_table(work)
    codes = tensors_of(work, clips, "codes", "shard", ["codes"])["codes"]
    # Tokens that never occur add nothing to a Gram matrix.
    return site_gram("tokens", hellinger_histograms(codes, int(codes.max()) + 1), clips["prompt"].to_numpy())
