"""The suite of the prompts: rows, balance, whole wordings per split, a design that can carry the test."""

from math import ceil

import numpy as np
import pandas as pd

from moodlens.contracts.params import Params
from moodlens.contracts.tables import NEUTRAL, PROMPTS, Column, Table
from moodlens.quality.builder import View, extend, limit
from moodlens.stats.permutation import smallest_p, units_needed

UNLIMITED = 10**15
"""Relabellings beyond number: what remains is the limit of the design itself."""


def prompts_suite(prompts: pd.DataFrame, params: Params) -> list[View]:
    """Return the views of the prompts: rows, emotions, wordings, texts and the design."""
    asked = params.prompts
    labels = (*asked.emotions, *((NEUTRAL,) if NEUTRAL in asked.sets else ()))
    folded = [" ".join(text.split()).casefold() for text in prompts["text"].fillna("")]
    felt = prompts[prompts["emotion"] != NEUTRAL]
    wordings = felt.groupby("wording", as_index=False).agg(
        n_splits=("split", "nunique"), n_emotions=("emotion", "nunique")
    )
    texts = prompts.assign(text=folded).groupby("text", as_index=False).agg(n_splits=("split", "nunique"))
    emotions = pd.DataFrame({"emotion": labels})
    emotions["n_prompts"] = [int((prompts["emotion"] == name).sum()) for name in labels]
    n = asked.n_per_emotion
    one = {"low": 1, "high": 1}
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
                    Column("n_prompts", "int", "prompts of the emotion", unit="prompts", low=n, high=n),
                ),
            ),
            emotions,
            "Run `dvc repro prompts` to draw balanced prompts",
        ),
        View(
            Table(
                "wordings",
                "wording",
                (
                    Column("wording", "str", "words that carry the emotion", unique=True),
                    Column("n_splits", "int", "splits that use the wording", unit="split", **one),
                    Column("n_emotions", "int", "emotions the wording stands for", unit="emotion", **one),
                ),
            ),
            wordings,
            "A word in two splits leaks the label: run `dvc repro prompts` to split by whole wordings",
        ),
        View(
            Table(
                "texts",
                "text",
                (
                    Column("text", "str", "text of the prompt", unique=True),
                    Column("n_splits", "int", "splits that hold the text", unit="split", **one),
                ),
            ),
            texts,
            "A text in two splits leaks the label: remove one of the prompts",
        ),
        _design_view(felt, params),
    ]


def _design_view(felt: pd.DataFrame, params: Params) -> View:
    """One row per stage that permutes: the smallest p of its design must lie below decide.alpha_strong."""
    alpha = params.decide.alpha_strong
    below = float(np.nextafter(alpha, 0))
    labels = felt["emotion"].astype("category").cat.codes.to_numpy()
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
