"""What the prompts alone tell: company of words, and the nuisance words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.contracts.tables import PROMPTS
from moodlens.prompts.assembly import prompt_table
from moodlens.prompts.design import design as grammar_design
from moodlens.store.tables import write_table
from moodlens.workspace.design import open_workspace
from moodlens.workspace.units import nuisances_of
from moodlens.workspace.wording_baselines import company, nuisance
from tests.stages.planted import planted_params

PARAMS = planted_params()


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    made = prompt_table(grammar_design(PARAMS.prompts.emotions, 12, PARAMS.prompts.sets, 0), 0)
    write_table(made, PROMPTS, tmp_path / "data" / "prompts.csv")
    return made


def test_nuisance_words_are_one_hot_without_the_wording(tmp_path: Path, table: pd.DataFrame):
    (found,) = nuisance(open_workspace(tmp_path))
    columns = pd.DataFrame(nuisances_of(table))
    same = [[(columns.loc[i] == columns.loc[j]).all() for j in range(len(table))] for i in range(len(table))]
    distance = np.add.outer(*(2 * [np.diag(found.values)])) - 2 * found.values
    assert np.array_equal(distance < 1e-9, np.array(same)), (
        "prompts differ in it where their nuisance differs"
    )
    moved = table.assign(
        text=[
            text.replace(word, "other") for text, word in zip(table["text"], table["wording"], strict=True)
        ],
        wording=[f"other{i}" for i in range(len(table))],
    )
    moved["text"] = [t.replace("other", w) for t, w in zip(moved["text"], moved["wording"], strict=True)]
    write_table(moved, PROMPTS, tmp_path / "data" / "prompts.csv")
    (again,) = nuisance(open_workspace(tmp_path))
    np.testing.assert_allclose(again.values, found.values)


def test_prompts_that_name_nothing_else_have_no_nuisance_words(tmp_path: Path, table: pd.DataFrame):
    plain = table.assign(text=table["wording"], set="generic", template="{wording}")
    write_table(plain, PROMPTS, tmp_path / "data" / "prompts.csv")
    assert nuisance(open_workspace(tmp_path)) == []


def test_company_has_a_row_per_prompt_and_reads_the_whole_caption_table(tmp_path: Path, table: pd.DataFrame):
    work = open_workspace(tmp_path)
    found = company(work, PARAMS.prompts, 0)
    assert {gram.site.rsplit(" ", 1)[0] for gram in found} == {"latent semantics", "word vectors"}
    assert all(len(gram.values) == work.design.n_prompts for gram in found)
    words = table["wording"].tolist()
    pairs = [f"{a} {b}" for a, b in zip(words, words[4:], strict=False)]
    (tmp_path / "captions.csv").write_text("\n".join(["caption,aspect_list", *(f'"{p}",sad' for p in pairs)]))
    with_table = replace(PARAMS.prompts, sets=("table",), table_path="captions.csv", text_column="caption")
    moved = company(work, with_table, 0)
    assert not np.allclose(moved[0].values, found[0].values)
