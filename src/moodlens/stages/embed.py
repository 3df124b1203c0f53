"""Stage `embed`: a prompt before any music, as words, text encoder, projection and untrained twin."""

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
        "n_tokens": [len(found.tokens) for found in encoded],
    }
    folder = root / "data" / "embeddings"
    write_shard(folder / "embeddings.safetensors", tensors, about)
    write_table(index_of(prompt_ids, tensors, encoded), EMBEDDINGS, folder / "index.parquet")


def encode(backend: "MusicBackend", texts: Sequence[str], label: str) -> list[TextEncoding]:
    """Return the encoding of every text, with progress."""
    chunks = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)]
    found: list[TextEncoding] = []
    with progress(label, "chunk", len(chunks)) as advance:
        for chunk in chunks:
            found += backend.encode_text(chunk)
            advance()
    return found


def embeddings(
    texts: Sequence[str], encoded: Sequence[TextEncoding], twin: Sequence[TextEncoding]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the tensors of contracts.tensors, float32, and the words that are the columns of `bow`.

    Pooling is the mean over a prompt's tokens, end token included, pads never.
    """
    counts, words = bag_of_words(texts)
    tensors = {
        "bow": counts,
        "text": np.stack([found.hidden.mean(axis=0) for found in encoded]),
        "projected": np.stack([found.projected.mean(axis=0) for found in encoded]),
        "twin": np.stack([found.hidden.mean(axis=0) for found in twin]),
        "tokens": np.concatenate([found.hidden for found in encoded]),
        "tokens_projected": np.concatenate([found.projected for found in encoded]),
    }
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}, words


def index_of(
    prompt_ids: Sequence[str], tensors: dict[str, np.ndarray], encoded: Sequence[TextEncoding]
) -> pd.DataFrame:
    """Return the table EMBEDDINGS: one row per prompt and encoder, prompts in the order of the tensors."""
    rows = []
    for row, (prompt_id, found) in enumerate(zip(prompt_ids, encoded, strict=True)):
        for encoder in ENCODERS:
            vector = tensors[encoder][row].astype(np.float64)
            rows.append(
                {
                    "row_id": f"{prompt_id}/{encoder}",
                    "prompt_id": prompt_id,
                    "encoder": encoder,
                    "n_tokens": int(vector.sum()) if encoder == "bow" else len(found.tokens),
                    "width": len(vector),
                    "norm": float(np.linalg.norm(vector)),
                    "finite_fraction": float(np.isfinite(vector).mean()),
                }
            )
    return pd.DataFrame(rows, columns=EMBEDDINGS.names)
