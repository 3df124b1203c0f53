"""What SAEs read that no earlier stage wrote: the table of texts, their encodings, the twin's layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from moodlens.compute.pool import progress
from moodlens.contracts.backend import Capture
from moodlens.contracts.tables import NEUTRAL, PROMPTS, TEXTS
from moodlens.contracts.tensors import shard_name
from moodlens.params.pipeline import Params
from moodlens.prompts.assembly import split_of_wordings
from moodlens.prompts.diverse import diverse_prompts
from moodlens.prompts.grammar import Caption
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_table, values, write_table
from moodlens.workspace.design import Workspace, clip_table
from moodlens.workspace.sae_rows import FOLDER, TEXT_SITES, layer_of

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
"""Share of an emotion's texts in each split of SAE training, as near as whole wordings allow."""


def text_table(prompts: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Return the table TEXTS: the prompts of the design, then the diverse ones that are not among them.

    A wording is in one split whatever its source, so what is held out of the texts is held out of the clips.
    """
    rows = [
        {
            "text_id": row["prompt_id"],
            "source": "design",
            **{name: row[name] for name in ("emotion", "valence", "arousal", "template", "wording", "text")},
            "family": row["set"],
            "adverb": "",
        }
        for row in prompts.to_dict("records")
    ]
    if params.sae.prompts == "diverse":
        known = {" ".join(text.split()).casefold() for text in prompts["text"]}
        owner = dict(zip(prompts["wording"], prompts["emotion"], strict=True))
        for number, prompt in enumerate(diverse_prompts(params.prompts.emotions, params.sae.seed)):
            if prompt.text in known or owner.get(prompt.wording, prompt.emotion) != (
                prompt.emotion or NEUTRAL
            ):
                continue  # said already, or a word that the user's own table gives to another emotion
            fields = {name: getattr(prompt, name) for name in ("valence", "arousal", "template", "wording")}
            fields |= {name: getattr(prompt, name) for name in ("family", "adverb", "text")}
            emotion = prompt.emotion or NEUTRAL
            rows.append(
                {
                    "text_id": f"diverse-{emotion}-{number:03d}",
                    "source": "diverse",
                    "emotion": emotion,
                    **fields,
                }
            )
    table: Any = pd.DataFrame(rows)
    table[["valence", "arousal"]] = table[["valence", "arousal"]].astype(np.float64)
    captions = [
        Caption(row["text"], row["family"], row["template"], row["wording"], row["emotion"], None, None)
        for row in rows
    ]
    # the design's wordings first, so that clips, too, have all three splits
    mine = [caption for caption, row in zip(captions, rows, strict=True) if row["source"] == "design"]
    splits = split_of_wordings(mine, params.sae.seed, SHARES)
    others = [caption for caption in captions if (caption.wording or caption.text) not in splits]
    splits |= split_of_wordings(others, params.sae.seed, SHARES)
    table["split"] = [splits[caption.wording or caption.text] for caption in captions]
    return table[TEXTS.names]


def write_rows(
    work: Workspace, params: Params, backend: "MusicBackend", twin: "MusicBackend"
) -> pd.DataFrame:
    """Write data/sae and return its table of texts; see `sae_rows`."""
    folder = work.root / "data" / FOLDER
    table = text_table(read_table(PROMPTS, work.root / "data" / "prompts.csv"), params)
    write_table(table, TEXTS, folder / "texts.csv")
    texts = values(table, "text")
    encoded = backend.encode_text(texts)
    tensors = {"tokens": np.concatenate([found.hidden for found in encoded])}
    if params.sae.twin:
        tensors["twin_tokens"] = np.concatenate([found.hidden for found in twin.encode_text(texts)])
    about = {
        "n_tokens": [len(found.tokens) for found in encoded],
        "tokens": [piece for found in encoded for piece in found.tokens],
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
    """Write the twin's states of each clip's tokens under the clip's own text, shard by shard."""
    clips = clip_table(work)
    places = [layer_of(site) for site in sites]
    names = tuple(sorted({name for name, *_ in places}))
    half = "both" if {half for *_, half in places} == {"cond", "uncond"} else places[0][2]
    capture = Capture(names, tuple(sorted({layer for _, layer, _ in places})), half)
    wanted = [f"{name}.{layer}/{half}" for name, layer, half in places]
    shards = clips.groupby("shard", sort=True)
    with progress("sae, untrained twin", "shard", len(shards)) as advance:
        for shard, group in shards:
            number = int(str(shard))
            codes = read_shard(work.root / "data" / "codes" / shard_name("shard", number), ["codes"])["codes"]
            rows = group["row"].to_numpy()
            said = [texts[prompt_id] for prompt_id in group["prompt_id"]]
            states = twin.teacher_force(codes[rows], said, capture).values
            kept = {}
            for key in wanted:
                stored = np.zeros((len(codes), *states[key].shape[1:]), dtype=np.float16)
                stored[rows] = states[key]
                kept[key] = stored
            write_shard(work.root / "data" / FOLDER / shard_name("twin", number), kept)
            advance()
