"""The suite of the prompts: rows, balance, whole wordings per split, a design that can carry the test."""

from collections import Counter
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from moodlens.contracts.tables import NEUTRAL, PROMPTS, Column, Table
from moodlens.params.pipeline import Params
from moodlens.quality.builder import View, extend, limit
from moodlens.stats.permutation import smallest_p, units_needed
from moodlens.store.tables import values

UNLIMITED = 10**15
"""Relabellings beyond number: what remains is the limit of the design itself."""


def prompts_suite(prompts: pd.DataFrame, params: Params) -> list[View]:
    """Return the views of the prompts: rows, emotions, wordings, texts and the design."""
    asked = params.prompts
    labels = (*asked.emotions, *((NEUTRAL,) if NEUTRAL in asked.sets else ()))
    emotions, texts = values(prompts, "emotion"), values(prompts, "text")
    folded = [" ".join(str(text).split()).casefold() for text in texts]
    felt = prompts[[emotion != NEUTRAL for emotion in emotions]]
    counts = Counter(emotions)
    balance = pd.DataFrame({"emotion": labels, "n_prompts": [counts[label] for label in labels]})
    n = asked.n_per_emotion
    return [
        View(
            extend(
                limit(PROMPTS, emotion={"allowed": labels}),
                Column("text_folded", "str", "text in lower case and single spaces", unique=True),
            ),
            prompts.assign(text_folded=folded),
            "Correct the source of the prompt (params.yaml, section prompts) and run `dvc repro` again",
        ),
        View(
            Table(
                "emotions",
                "emotion",
                (
                    Column("emotion", "str", "emotion", unique=True),
                    Column("n_prompts", "int", "prompts of the emotion", low=n, high=n),
                ),
            ),
            balance,
            "Run `dvc repro prompts` to draw balanced prompts",
        ),
        View(
            Table(
                "wordings",
                "wording",
                (
                    Column("wording", "str", "words that carry the emotion", unique=True),
                    Column("n_splits", "int", "splits that use the wording", low=1, high=1),
                    Column("n_emotions", "int", "emotions the wording stands for", low=1, high=1),
                ),
            ),
            _spread(felt, "wording", n_splits="split", n_emotions="emotion"),
            "A word in two splits leaks the label: run `dvc repro prompts` to split by whole wordings",
        ),
        View(
            Table(
                "texts",
                "text",
                (
                    Column("text", "str", "text of the prompt", unique=True),
                    Column("n_splits", "int", "splits that hold the text", low=1, high=1),
                ),
            ),
            _spread(prompts.assign(text=folded), "text", n_splits="split"),
            "A text in two splits leaks the label: remove one of the prompts",
        ),
        _design_view(felt, params),
    ]


def _spread(frame: Any, key: str, **counted: str) -> pd.DataFrame:
    """One row per value of column `key`; each further column counts the different values of another one."""
    groups: dict[str, list[int]] = {}
    for row, value in enumerate(values(frame, key)):
        groups.setdefault(value, []).append(row)
    out = pd.DataFrame({key: pd.Series(list(groups), dtype="str")})
    for name, column in counted.items():
        cells = values(frame, column)
        out[name] = [len({cells[row] for row in rows}) for rows in groups.values()]
    return out


def _design_view(felt: Any, params: Params) -> View:
    """One row per stage that permutes: the smallest p of its design must lie below decide.alpha_strong."""
    alpha = params.decide.alpha_strong
    below = float(np.nextafter(alpha, 0))
    labels = np.unique(values(felt, "emotion"), return_inverse=True)[1]
    drawn = {"signal": params.signal.n_permutations, "probe": params.probe.n_permutations}
    frame = pd.DataFrame({"stage": list(drawn), "n_permutations": list(drawn.values())})
    frame["smallest_p"] = smallest_p(labels, UNLIMITED)
    table = Table(
        "design",
        "stage",
        (
            Column("stage", "str", "the stage that permutes", unique=True),
            Column("n_permutations", "int", "relabellings drawn", low=ceil(1 / alpha) if alpha else None),
            Column("smallest_p", "float", "smallest p of relabelling whole prompts", low=0, high=below),
        ),
    )
    advice = {
        "smallest_p": f"p < decide.alpha_strong = {alpha:g} needs {_prompts_needed(params)}: raise either",
        "n_permutations": f"Raise it, or decide.alpha_strong ({alpha:g})",
    }
    return View(table, frame, "Add prompts", advice)


def _prompts_needed(params: Params) -> str:
    if not params.decide.alpha_strong:
        return "infinitely many prompts"
    needed = units_needed(len(params.prompts.emotions), params.decide.alpha_strong)
    return f"prompts.n_per_emotion of at least {needed}"
