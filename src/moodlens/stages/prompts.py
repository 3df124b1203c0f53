"""Stage `prompts`: the prompt table, from the grammar, a table of captions, or both.

It is the first that knows prompts and model, so it refuses here what they cannot support.
"""

from pathlib import Path

import pandas as pd

from moodlens.backends import catalog
from moodlens.base.errors import UsageError, must
from moodlens.contracts.tables import NEUTRAL, PROMPTS
from moodlens.forecast.sizes import sizes_of_checkpoint
from moodlens.params.pipeline import Params, Prompts
from moodlens.prompts import captions
from moodlens.prompts.assembly import prompt_table
from moodlens.prompts.design import design, split_evenly
from moodlens.prompts.grammar import Caption
from moodlens.store.csv_text import read_csv_text
from moodlens.store.tables import write_table
from moodlens.workspace.reach import refuse_beyond_model, refuse_small_design

TABLE = "table"


def run(params: Params, root: Path) -> None:
    """Write data/prompts.csv if prompts and model support what the parameters ask.

    Raises:
        UsageError, ContractError: as `draw_prompts` and `workspace.reach`.
    """
    table = drawn_table(params.prompts, root)
    refuse_small_design(params, table)
    refuse_beyond_model(params, table, sizes_of_checkpoint(catalog.find(params.model, root).checkpoint))
    write_table(table, PROMPTS, root / "data" / "prompts.csv")


def drawn_table(params: Prompts, root: Path) -> pd.DataFrame:
    """Return table PROMPTS: n_per_emotion prompts of each emotion, and as many neutral if requested."""
    return prompt_table(draw_prompts(params, root), params.seed)


def draw_prompts(params: Prompts, root: Path) -> list[Caption]:
    """Return the prompts that the parameters request; the emotional sets divide n_per_emotion evenly.

    Raises:
        UsageError: no set carries emotion, or fewer than two emotions.
        ContractError: the caption table lacks a column or has too few captions.
    """
    emotional = [name for name in params.sets if name != NEUTRAL]
    if not emotional:
        advice = "Add generic, descriptive, scenes or table"
        rule = "hold a set that carries emotion"
        raise UsageError(must("prompts.sets", rule, list(params.sets), next_step=advice))
    if len(params.emotions) < 2:
        rule, got = "hold at least two emotions", list(params.emotions)
        raise UsageError(must("prompts.emotions", rule, got, next_step="Add one"))
    from_grammar = tuple(name for name in emotional if name != TABLE)
    n_table = split_evenly(params.n_per_emotion, len(emotional))[-1] if TABLE in emotional else 0
    drawn: list[Caption] = []
    if from_grammar:
        drawn += design(params.emotions, params.n_per_emotion - n_table, from_grammar, params.seed)
    if n_table:
        drawn += _from_table(params, n_table, root)
    if NEUTRAL in params.sets:
        drawn += design(params.emotions, params.n_per_emotion, (NEUTRAL,), params.seed)
    return drawn


def _from_table(params: Prompts, n_per_emotion: int, root: Path) -> list[Caption]:
    path = root / params.table_path
    columns = captions.CaptionColumns(params.text_column, params.emotion_column, params.mood_column)
    rows = read_csv_text(path, "prompts.table_path")
    matched = captions.matching(rows, columns, params.mood_words, params.emotions, path.name)
    return captions.pick(matched, params.emotions, n_per_emotion, params.seed, path.name)
