"""The suite of the text embeddings: one row per prompt and encoder, as wide as the encoder."""

from itertools import product

import pandas as pd

from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import EMBEDDINGS, Column, Table
from moodlens.contracts.tensors import ENCODERS
from moodlens.quality.derived_views import count_view
from moodlens.quality.rules import REPEAT, SMALLEST, View, extend, limit
from moodlens.store.tables import values

AGAIN = "Run `dvc repro embed`"


def embeddings_suite(
    index: pd.DataFrame, prompts: pd.DataFrame, shapes: pd.DataFrame, model: ModelInfo, n_words: int
) -> list[View]:
    """Return the views of the embeddings: rows, completeness of prompt x encoder, stored tensors.

    Args:
        index: table EMBEDDINGS.
        prompts: table PROMPTS.
        shapes: the stored tensors, one row per encoder: encoder, n_rows, width.
        model: the model whose text encoder made them.
        n_words: size of the bag-of-words vocabulary.
    """
    widths = {"bow": n_words, "text": model.d_text, "projected": model.d_model, "twin": model.d_text}
    width = Column("encoder__width", "int", "width of the encoder")
    equal = {"width": width.name}
    rows = extend(limit(EMBEDDINGS, encoder={"allowed": ENCODERS}, norm={"low": SMALLEST}), width)
    tensors = (
        Column("encoder", "str", "the tensor's name", unique=True, allowed=ENCODERS),
        Column("n_rows", "int", "rows of the tensor", low=len(prompts), high=len(prompts)),
        Column("width", "int", "width of the tensor"),
        width,
    )
    expected = [f"{prompt}/{encoder}" for prompt, encoder in product(values(prompts, "prompt_id"), ENCODERS)]
    return [
        View(rows, _with_width(index, widths), REPEAT, equal=equal),
        count_view("complete", "row_id", expected, values(index, "row_id"), AGAIN),
        View(Table("tensors", "encoder", tensors), _with_width(shapes, widths), AGAIN, equal=equal),
    ]


def _with_width(frame: pd.DataFrame, widths: dict[str, int]) -> pd.DataFrame:
    return frame.assign(encoder__width=[widths.get(name, 0) for name in values(frame, "encoder")])
