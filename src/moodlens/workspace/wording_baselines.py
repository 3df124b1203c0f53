"""What the prompts alone tell: the company that their words keep in captions, and what else they name.

Sites that no stage stores: both are computed from the texts.
"""

import numpy as np

from moodlens.params.pipeline import Prompts
from moodlens.prompts.captions import TEMPLATE
from moodlens.prompts.company import company_of, grammar_captions
from moodlens.stats.gram import SiteGram, site_gram, standardised
from moodlens.store.csv_text import read_csv_text
from moodlens.workspace.design import Workspace, prompt_table
from moodlens.workspace.units import nuisances_of


def company(work: Workspace, prompts: Prompts, seed: int) -> list[SiteGram]:
    """Return the company of the prompts' words, one site per analysis and width; no label enters.

    The corpus is the prompts, the captions of the grammar and, where prompts come from a caption table, every
    caption of that table.

    Args:
        work: workspace.
        prompts: section of params.yaml.
        seed: of the nuisance words in the grammar's captions.
    """
    corpus = grammar_captions(seed)
    if TEMPLATE in prompts.sets:
        table = read_csv_text(work.root / prompts.table_path, "prompts.table_path")
        corpus += table[prompts.text_column].astype(str).tolist()
    places = company_of(prompt_table(work)["text"].tolist(), corpus)
    rows = np.arange(work.design.n_prompts)
    return [site_gram(name, place, rows) for name, place in places.items()]


def nuisance(work: Workspace) -> list[SiteGram]:
    """Return the words beside the wording, one-hot at variance 1: set, template, instrument, genre and key.

    A prompt's own wording is not in it. No site is returned where the prompts differ in none of these.
    """
    columns = [
        (np.asarray(values, dtype=str)[:, None] == np.unique(values)).astype(np.float64)
        for values in nuisances_of(prompt_table(work)).values()
    ]
    rows = standardised(np.concatenate(columns, axis=1))
    return [site_gram("nuisance words", rows, np.arange(len(rows)))] if rows.shape[1] else []
