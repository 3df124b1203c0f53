"""The sites that several stages analyse: stored files in, Gram matrices over the emotional prompts out."""

import numpy as np

from moodlens.base.errors import ContractError, must
from moodlens.codes.histograms import hellinger_histograms
from moodlens.contracts.tensors import CODEC_MEAN
from moodlens.stats.gram import SiteGram, site_gram, standardised
from moodlens.stats.site_names import split_site
from moodlens.store.shards import read_shard, shard_names
from moodlens.workspace.design import REMAKE, Workspace, acoustic_table, clip_table
from moodlens.workspace.shards import shard_path, tensors_of

TWIN = "twin/"


def load_families(work: Workspace, names: tuple[str, ...]) -> dict[str, list[SiteGram]]:
    """Return the families of sites that maxT corrects over, each with its untrained twin where there is one.

    Args:
        work: workspace.
        names: what to load, as in signal.sites: layers, text, bow, acoustics, tokens, codec.
    """
    families: dict[str, list[SiteGram]] = {}
    if "layers" in names:
        families["layers"] = layers(work, twin=False)
        families["twin_layers"] = layers(work, twin=True)
    if "text" in names:
        families["text"] = [embedding(work, "text")]
        families["projected"] = [embedding(work, "projected")]
        families["twin_text"] = [embedding(work, "twin")]
    if "bow" in names:
        families["words"] = [embedding(work, "bow")]
    loaders = {"acoustics": acoustics, "tokens": tokens, "codec": codec}
    music = [load(work) for name, load in loaders.items() if name in names]
    if music:
        families["music"] = music
    return families


def embedding(work: Workspace, encoder: str) -> SiteGram:
    """Return the site of one pooled embedding; in the bag of words every word is scaled to variance 1.

    With raw counts, frequent words that bear no emotion dominate the distances. Standardised, the bag of
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
    """Return one site per hookpoint and half, means over steps; of the model or of its untrained twin."""
    clips = clip_table(work)
    first = shard_path(work.root, "activations", "summary", int(clips["shard"].iloc[0]))
    prefix, end = TWIN if twin else "", "/mean"
    keys = [key for key in shard_names(first) if key.endswith(end) and key.startswith(TWIN) == twin]
    keys = [key for key in keys if key != CODEC_MEAN]
    keys.sort(key=lambda key: split_site(key.removeprefix(prefix).removesuffix(end)))
    if not keys:
        got = "no twin/<hookpoint>/<half>/mean" if twin else "no <hookpoint>/<half>/mean"
        raise ContractError(must(first.name, "hold summaries of layers", got, next_step=REMAKE))
    stacked = tensors_of(work, clips, "activations", "summary", keys)
    prompts = clips["prompt"].to_numpy()
    return [site_gram(key.removeprefix(prefix).removesuffix(end), stacked[key], prompts) for key in keys]


def acoustics(work: Workspace) -> SiteGram:
    """Return the acoustic descriptors, each scaled to variance 1."""
    clips = clip_table(work)
    table = acoustic_table(work).loc[clips["clip_id"]]
    return site_gram("acoustics", standardised(table.to_numpy(dtype=np.float64)), clips["prompt"].to_numpy())


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
