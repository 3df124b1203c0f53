"""The texts that SAEs are trained on, and the split of each: prompts of the design and diverse prompts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from moodlens.contracts.tables import NEUTRAL, TEXTS
from moodlens.prompts.assembly import split_of_wordings
from moodlens.prompts.diverse import DiversePrompt, diverse_prompts
from moodlens.prompts.grammar import Caption

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
"""Target share of an emotion's texts in each split. Wordings are never divided, so shares are approximate."""

Row = dict[str, Any]
"""One row of the table TEXTS, without its split."""


def text_table(prompts: pd.DataFrame, emotions: Sequence[str], *, diverse: bool, seed: int) -> pd.DataFrame:
    """Return the table TEXTS: the prompts of the design, then the diverse prompts that are not among them.

    Texts that share a wording are in the same split, whatever their source. A text held out of the text SAE
    is therefore also held out of the clips.

    Args:
        prompts: the table PROMPTS.
        emotions: emotions of the diverse prompts.
        diverse: whether to add the diverse prompts.
        seed: seed of the diverse prompts and of the splits.
    """
    rows = design_rows(prompts)
    if diverse:
        rows += diverse_rows(prompts, diverse_prompts(emotions, seed))
    table: Any = pd.DataFrame(rows)
    table[["valence", "arousal"]] = table[["valence", "arousal"]].astype(np.float64)
    table["split"] = splits_of(rows, seed)
    return table[TEXTS.names]


def design_rows(prompts: pd.DataFrame) -> list[Row]:
    """Return one row per prompt of the design."""
    same = ("emotion", "valence", "arousal", "template", "wording", "text")
    return [
        {
            "text_id": row["prompt_id"],
            "source": "design",
            **{name: row[name] for name in same},
            "family": row["set"],
            "adverb": "",
        }
        for row in prompts.to_dict("records")
    ]


def diverse_rows(prompts: pd.DataFrame, diverse: Sequence[DiversePrompt]) -> list[Row]:
    """Return one row per diverse prompt that does not clash with the design.

    Two kinds are left out: texts that the design already has, and wordings that the design (for example a
    user's own table) assigns to another emotion.
    """
    texts = {" ".join(text.split()).casefold() for text in prompts["text"]}
    emotion_of = dict(zip(prompts["wording"], prompts["emotion"], strict=True))
    same = ("valence", "arousal", "template", "wording", "family", "adverb", "text")
    rows = []
    for number, prompt in enumerate(diverse):
        emotion = prompt.emotion or NEUTRAL
        if prompt.text in texts or emotion_of.get(prompt.wording, prompt.emotion) != emotion:
            continue
        rows.append(
            {
                "text_id": f"diverse-{emotion}-{number:03d}",
                "source": "diverse",
                "emotion": emotion,
                **{name: getattr(prompt, name) for name in same},
            }
        )
    return rows


def splits_of(rows: Sequence[Row], seed: int) -> list[str]:
    """Return the split of each row.

    Wordings of the design are assigned first, so that the clips, too, have texts in all three splits.
    """
    captions = [
        Caption(
            text=row["text"],
            set=row["family"],
            template=row["template"],
            wording=row["wording"],
            emotion=row["emotion"],
            valence=None,
            arousal=None,
        )
        for row in rows
    ]
    design = [caption for caption, row in zip(captions, rows, strict=True) if row["source"] == "design"]
    splits = split_of_wordings(design, seed, SHARES)
    others = [caption for caption in captions if (caption.wording or caption.text) not in splits]
    splits |= split_of_wordings(others, seed, SHARES)
    return [splits[caption.wording or caption.text] for caption in captions]
