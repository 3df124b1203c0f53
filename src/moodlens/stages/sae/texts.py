"""Writes data/sae: the table of texts, their encodings by the model and its twin, the twin's layer states."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from moodlens.compute.pool import progress
from moodlens.contracts.backend import Capture
from moodlens.contracts.tables import PROMPTS, TEXTS
from moodlens.contracts.tensors import shard_name
from moodlens.params.pipeline import Params
from moodlens.sae.texts import text_table
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_table, values, write_table
from moodlens.workspace.design import Workspace, clip_table
from moodlens.workspace.sae_rows import FOLDER, TEXT_SITES, layer_of

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend


def write_rows(
    work: Workspace, params: Params, backend: "MusicBackend", twin: "MusicBackend"
) -> pd.DataFrame:
    """Write data/sae (described in `workspace.sae_rows`) and return its table of texts."""
    folder = work.root / "data" / FOLDER
    table = text_table(
        read_table(PROMPTS, work.root / "data" / "prompts.csv"),
        params.prompts.emotions,
        diverse=params.sae.prompts == "diverse",
        seed=params.sae.seed,
    )
    write_table(table, TEXTS, folder / "texts.csv")
    texts = values(table, "text")
    encodings = backend.encode_text(texts)
    tensors = {"tokens": np.concatenate([encoding.hidden for encoding in encodings])}
    if params.sae.twin:
        tensors["twin_tokens"] = np.concatenate([encoding.hidden for encoding in twin.encode_text(texts)])
    about = {
        "n_tokens": [len(encoding.tokens) for encoding in encodings],
        "tokens": [token for encoding in encodings for token in encoding.tokens],
        "model": backend.info.weights_sha256,
        "twin": twin.info.weights_sha256,
    }
    write_shard(folder / "texts.safetensors", {k: v.astype(np.float32) for k, v in tensors.items()}, about)
    layers = [site for site in params.sae.sites if site not in TEXT_SITES]
    if layers and params.sae.twin:
        _write_twin_layers(work, dict(zip(values(table, "text_id"), texts, strict=True)), layers, twin)
    return table


def _write_twin_layers(
    work: Workspace, texts: Mapping[str, str], sites: Sequence[str], twin: "MusicBackend"
) -> None:
    """Write the twin's states at the tokens of each clip, under the clip's own text, shard by shard."""
    layers = [layer_of(site) for site in sites]
    names = tuple(sorted({name for name, *_ in layers}))
    half = "both" if {half for *_, half in layers} == {"cond", "uncond"} else layers[0][2]
    capture = Capture(names, tuple(sorted({layer for _, layer, _ in layers})), half)
    keys = [f"{name}.{layer}/{half}" for name, layer, half in layers]
    shards = clip_table(work).groupby("shard", sort=True)
    with progress("sae, untrained twin", "shard", len(shards)) as advance:
        for shard, group in shards:
            number = int(str(shard))
            codes = read_shard(work.root / "data" / "codes" / shard_name("shard", number), ["codes"])["codes"]
            rows = group["row"].to_numpy()
            own_texts = [texts[prompt_id] for prompt_id in group["prompt_id"]]
            states = twin.teacher_force(codes[rows], own_texts, capture).values
            tensors = {}
            for key in keys:
                tensors[key] = np.zeros((len(codes), *states[key].shape[1:]), dtype=np.float16)
                tensors[key][rows] = states[key]
            write_shard(work.root / "data" / FOLDER / shard_name("twin", number), tensors)
            advance()
