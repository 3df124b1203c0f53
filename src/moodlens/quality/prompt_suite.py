"""The suite of the prompts: balance, wordings and texts in one split each, enough prompts to test."""

from collections import Counter
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from moodlens.contracts.tables import NEUTRAL, PROMPTS, Column, Table
from moodlens.params.pipeline import Params
from moodlens.quality.derived_views import one_value_view
from moodlens.quality.rules import View, extend, limit
from moodlens.stats.permutation import smallest_p, units_needed
from moodlens.store.tables import values

UNLIMITED = 10**15
"""Relabellings so many that the smallest p is set by the design alone."""


def prompts_suite(prompts: pd.DataFrame, params: Params) -> list[View]:
    """Return the views of the prompts: rows, emotions, wordings, texts, design.

    Args:
        prompts: table PROMPTS.
        params: of the run.
    """
    settings = params.prompts
    labels = (*settings.emotions, *((NEUTRAL,) if NEUTRAL in settings.sets else ()))
    emotions = values(prompts, "emotion")
    folded = [" ".join(str(text).split()).casefold() for text in values(prompts, "text")]
    emotional = prompts[[emotion != NEUTRAL for emotion in emotions]]
    rows = extend(
        limit(PROMPTS, emotion={"allowed": labels}),
        Column("text_folded", "str", "text in lower case and single spaces", unique=True),
    )
    return [
        View(
            rows,
            prompts.assign(text_folded=folded),
            "Correct the source of the prompt (params.yaml, section prompts) and run `dvc repro` again",
        ),
        _balance_view(labels, emotions, settings.n_per_emotion),
        one_value_view(
            "wordings",
            emotional,
            "wording",
            "words that carry the emotion",
            {
                "n_splits": ("split", "splits that use the wording"),
                "n_emotions": ("emotion", "emotions the wording stands for"),
            },
            "A word in two splits leaks the label: run `dvc repro prompts` to split by whole wordings",
        ),
        one_value_view(
            "texts",
            prompts.assign(text=folded),
            "text",
            "text of the prompt",
            {"n_splits": ("split", "splits that hold the text")},
            "A text in two splits leaks the label: remove one of the prompts",
        ),
        _design_view(emotional, params),
    ]


def _balance_view(labels: tuple[str, ...], emotions: list[str], n_prompts: int) -> View:
    """One row per emotion: each must have the same number of prompts."""
    counts = Counter(emotions)
    frame = pd.DataFrame({"emotion": labels, "n_prompts": [counts[label] for label in labels]})
    columns = (
        Column("emotion", "str", "emotion", unique=True),
        Column("n_prompts", "int", "prompts of the emotion", low=n_prompts, high=n_prompts),
    )
    return View(
        Table("emotions", "emotion", columns), frame, "Run `dvc repro prompts` to draw balanced prompts"
    )


def _design_view(emotional: Any, params: Params) -> View:
    """One row per stage that permutes: the smallest p of its design must lie below decide.alpha_strong."""
    alpha = params.decide.alpha_strong
    below = float(np.nextafter(alpha, 0))
    labels = np.unique(values(emotional, "emotion"), return_inverse=True)[1]
    permutations = {"signal": params.signal.n_permutations, "probe": params.probe.n_permutations}
    frame = pd.DataFrame({"stage": list(permutations), "n_permutations": list(permutations.values())})
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
