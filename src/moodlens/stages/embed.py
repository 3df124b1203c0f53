"""Stage `embed`: embeddings of the prompts: bag of words, text encoder, projection and untrained twin."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from moodlens.backends import catalog
from moodlens.compute.pool import progress
from moodlens.contracts.backend import TextEncoding
from moodlens.contracts.tables import EMBEDDINGS, PROMPTS
from moodlens.contracts.tensors import ENCODERS
from moodlens.params.pipeline import Params
from moodlens.prompts.lexicon import bag_of_words
from moodlens.store.shards import write_shard
from moodlens.store.tables import read_table, values, write_table

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend

CHUNK = 64
"""Prompts between two updates of the progress bar; a prompt's encoding does not depend on its chunk."""
UNKNOWN = ("<unk>", "[UNK]")
"""What tokenizers call a piece of text that is not in their vocabulary."""


def run(params: Params, root: Path) -> None:
    """Write data/embeddings/embeddings.safetensors (see contracts.tensors) and its index.parquet."""
    import torch

    torch.set_num_threads(params.compute.threads)
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    backend = catalog.load(params.model, root)
    twin = backend.random_twin(params.embed.twin_seed)
    texts = values(prompts, "text")
    encoded = encode(backend, texts, "embed")
    tensors, words = embeddings(texts, encoded, encode(twin, texts, "embed, twin"))
    prompt_ids = values(prompts, "prompt_id")
    about = {
        "model": asdict(backend.info),
        "twin": asdict(twin.info),
        "prompt_ids": prompt_ids,
        "words": words,
        "n_tokens": [len(encoding.tokens) for encoding in encoded],
        "n_unknown": [sum(token in UNKNOWN for token in encoding.tokens) for encoding in encoded],
    }
    folder = root / "data" / "embeddings"
    write_shard(folder / "embeddings.safetensors", tensors, about)
    write_table(index_of(prompt_ids, tensors, encoded), EMBEDDINGS, folder / "index.parquet")


def encode(backend: "MusicBackend", texts: Sequence[str], label: str) -> list[TextEncoding]:
    """Return the encoding of every text, with progress."""
    chunks = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)]
    encodings: list[TextEncoding] = []
    with progress(label, "chunk", len(chunks)) as advance:
        for chunk in chunks:
            encodings += backend.encode_text(chunk)
            advance()
    return encodings


def embeddings(
    texts: Sequence[str], encoded: Sequence[TextEncoding], twin: Sequence[TextEncoding]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the tensors of contracts.tensors, float32, and the words that are the columns of `bow`.

    Pooling is the mean over the tokens of a prompt, with the end token and without padding.
    """
    counts, words = bag_of_words(texts)
    tensors = {
        "bow": counts,
        "text": np.stack([one.hidden.mean(axis=0) for one in encoded]),
        "projected": np.stack([one.projected.mean(axis=0) for one in encoded]),
        "twin": np.stack([one.hidden.mean(axis=0) for one in twin]),
        "tokens": np.concatenate([one.hidden for one in encoded]),
        "tokens_projected": np.concatenate([one.projected for one in encoded]),
    }
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}, words


def index_of(
    prompt_ids: Sequence[str], tensors: dict[str, np.ndarray], encoded: Sequence[TextEncoding]
) -> pd.DataFrame:
    """Return the table EMBEDDINGS: one row per prompt and encoder, prompts in the order of the tensors."""
    rows = []
    for row, (prompt_id, encoding) in enumerate(zip(prompt_ids, encoded, strict=True)):
        for encoder in ENCODERS:
            vector = tensors[encoder][row].astype(np.float64)
            rows.append(
                {
                    "row_id": f"{prompt_id}/{encoder}",
                    "prompt_id": prompt_id,
                    "encoder": encoder,
                    "n_tokens": int(vector.sum()) if encoder == "bow" else len(encoding.tokens),
                    "width": len(vector),
                    "norm": float(np.linalg.norm(vector)),
                    "finite_fraction": float(np.isfinite(vector).mean()),
                }
            )
    return pd.DataFrame(rows, columns=EMBEDDINGS.names)
