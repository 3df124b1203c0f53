"""The prompts of a workspace, its clips with their acoustic descriptors, and the steps that are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, Unsupported, UsageError, must
from moodlens.contracts.tables import ACOUSTIC_NAMES, ACOUSTICS, CLIPS, NEUTRAL, PROMPTS
from moodlens.contracts.tensors import stored_steps
from moodlens.prompts.lexicon import bag_of_words
from moodlens.stats.design import Design, design_of
from moodlens.stats.design_check import DesignCheck, check_design
from moodlens.stats.strata import Strata, strata_of
from moodlens.store.tables import read_metrics, read_table
from moodlens.workspace.units import merged_wordings, nuisances_of

REMAKE = "Run `dvc repro` to make the clips again"
NO_TEMPO_BPM = 100.0
"""Of every clip where no tempo was measured: the middle of the range in octaves."""
KEEP_STEPS = "Set it to false in params.yaml and run `dvc repro`"


class StepsNotStored(UsageError):
    """The clips were generated with settings that store none of the requested single steps."""


@dataclass(frozen=True)
class Workspace:
    """The emotional prompts of a workspace and the row of each in the prompt table."""

    root: Path
    design: Design
    rows: np.ndarray  # (prompt,) row of each prompt in data/prompts.csv
    n_table: int  # rows of that table, neutral prompts included
    strata: Strata  # nuisances that relabellings hold fixed

    def index_of(self, prompt_ids: Sequence[str]) -> np.ndarray:
        """Return the index of each prompt in the design, -1 for a neutral one."""
        indices = {prompt_id: i for i, prompt_id in enumerate(self.design.prompt_ids)}
        return np.array([indices.get(prompt_id, -1) for prompt_id in prompt_ids])


def open_workspace(root: Path) -> Workspace:
    """Return the design of data/prompts.csv, without the neutral prompts.

    The wording of the design is the connected component of wordings of one emotion that share a content word.
    A word that two emotions share merges nothing (`workspace.units.merged_wordings`). Labels are exchanged
    within strata of the nuisances that leave enough relabellings (`stats.strata`).

    Raises:
        ContractError: fewer than two emotions, an emotion with one prompt, a wording under two emotions.
    """
    table = read_table(PROMPTS, root / "data" / "prompts.csv")
    emotional = table.loc[table["emotion"] != NEUTRAL]
    design, strata = stratified(emotional)
    return Workspace(root, design, emotional.index.to_numpy(), len(table), strata)


def stratified(emotional: pd.DataFrame) -> tuple[Design, Strata]:
    """Return the design of emotional prompts, and its strata; errors are those of `open_workspace`.

    Args:
        emotional: rows of `contracts.tables.PROMPTS` without neutral prompts.
    """
    ids, emotions, wordings, texts = (
        emotional[name].tolist() for name in ("prompt_id", "emotion", "wording", "text")
    )
    design_of(ids, emotions, wordings)  # refuses a wording under two emotions before wordings are merged
    design = design_of(ids, emotions, merged_wordings(emotions, wordings, texts))
    strata = strata_of(design.labels, design.wordings, nuisances_of(emotional))
    return replace(design, strata=strata.codes), strata


def prompt_table(work: Workspace) -> pd.DataFrame:
    """Return the rows of data/prompts.csv of the emotional prompts, in the order of the design."""
    return read_table(PROMPTS, work.root / "data" / "prompts.csv").iloc[work.rows]


def checked_design(
    work: Workspace,
    p_dispersion: Mapping[str, float],
    unknown_share: float | None,
    alpha: float,
    seed: int,
) -> DesignCheck:
    """Return the findings on the design of a workspace; the arguments are those of `check_design`."""
    table = prompt_table(work)
    words, _ = bag_of_words(table["text"].tolist())
    return check_design(
        work.design,
        work.strata,
        nuisances_of(table),
        words.astype(np.float64),
        p_dispersion,
        unknown_share,
        alpha,
        seed,
    )


def clip_table(work: Workspace) -> pd.DataFrame:
    """Return the clips of emotional prompts; column `prompt` is the index of the prompt in the design."""
    table = read_table(CLIPS, work.root / "data" / "clips.parquet")
    table = table.assign(prompt=work.index_of(table["prompt_id"].tolist()))
    table = table.loc[table["prompt"] >= 0]
    missing = np.setdiff1d(np.arange(work.design.n_prompts), table["prompt"])
    if missing.size:
        prompt_id = work.design.prompt_ids[missing[0]]
        raise ContractError(must(f"prompt {prompt_id}", "have clips", "none", next_step=REMAKE))
    return table


def acoustic_table(work: Workspace) -> pd.DataFrame:
    """Return the acoustic descriptors of every clip, indexed by clip_id.

    A tempo that was not measured is the median of those that were, which tells nothing of its clip.
    """
    table = read_table(ACOUSTICS, work.root / "data" / "acoustics.parquet").set_index("clip_id")
    tempo = table["tempo_bpm"].to_numpy(dtype=np.float64)
    known = np.isfinite(tempo)
    middle = float(np.median(tempo[known])) if known.any() else NO_TEMPO_BPM
    return pd.DataFrame(table[list(ACOUSTIC_NAMES)]).assign(tempo_bpm=np.where(known, tempo, middle))


def manifest_of(root: Path) -> dict[str, Any]:
    """Return data/activations/manifest.json: how the clips were generated and what was stored of them."""
    manifest = read_metrics(root / "data" / "activations" / "manifest.json")
    capture, n_steps = manifest.get("capture"), manifest.get("n_steps")
    whole = isinstance(capture, Mapping) and {"pooled_only", "step_stride", "windows"} <= set(capture)
    if not whole or not isinstance(n_steps, int):
        rule, advice = (
            "hold n_steps and the settings of capture",
            "Run `dvc repro generate` to write it again",
        )
        raise ContractError(must("data/activations/manifest.json", rule, "less", next_step=advice))
    return manifest


def need_steps(root: Path, advice: str = KEEP_STEPS) -> tuple[int, ...]:
    """Return the decoder step of every stored step state, ascending; the same for all clips.

    Args:
        root: workspace.
        advice: the next step that an error names.

    Raises:
        StepsNotStored: the clips were generated with generate.pooled_only, which stores no steps.
    """
    manifest = manifest_of(root)
    capture = manifest["capture"]
    if capture["pooled_only"]:
        rule = "be false to read the states of single steps"
        raise StepsNotStored(must("generate.pooled_only", rule, True, next_step=advice))
    return stored_steps(manifest["n_steps"], capture["step_stride"], capture["windows"])


def too_many_folds(section: str, n_folds: int, n_wordings: int) -> str:
    """Return the fault of folds that keep wordings whole and are more than these, "" where there is none.

    Args:
        section: of params.yaml, whose `n_folds` it is.
        n_folds: its value.
        n_wordings: of the design.

    >>> too_many_folds("relate", 8, 8)
    ''
    """
    if n_folds <= n_wordings:
        return ""
    rule = f"not exceed the {n_wordings} wordings that folds keep whole"
    advice = "Lower it, or add prompts with other wordings"
    return must(f"{section}.n_folds", rule, n_folds, where="params.yaml", next_step=advice)


def wording_labels(design: Design) -> np.ndarray:
    """Return the emotion of every wording, (wording,).

    Raises:
        ContractError: an emotion has a single wording, so that nothing varies within it.
    """
    labels = design.unit_labels("wording")
    counts = np.bincount(labels, minlength=design.n_classes)
    if counts.min() < 2:
        name = design.emotions[int(counts.argmin())]
        advice = "Raise prompts.n_per_emotion: prompts that share their words are one unit here"
        raise Unsupported(must(f"emotion '{name}'", "have at least 2 wordings", 1, next_step=advice))
    return labels
