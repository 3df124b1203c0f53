"""The prompt table: ids, labels and splits of prompts from a grammar or a caption table.

A split holds whole wordings: a wording that expresses an emotion in `train` is in neither `val` nor `test`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import seed_for
from moodlens.contracts.tables import NEUTRAL, PROMPTS
from moodlens.prompts.grammar import Caption

SHARES = {"train": 0.6, "test": 0.2, "val": 0.2}
"""Share of an emotion's prompts in each split, as near as whole wordings allow."""


def prompt_table(captions: Sequence[Caption], seed: int) -> pd.DataFrame:
    """Return the table `contracts.tables.PROMPTS`, one row per caption.

    Rows are grouped by emotion, neutral last. Within an emotion they stay in the given order. A caption
    without an emotion is labelled `neutral`; its valence and arousal are missing.

    Raises:
        ContractError: a text is empty or occurs twice, or one wording stands for two emotions.
    """
    _refuse_empty_and_repeated(captions)
    splits = split_of_wordings(captions, seed)
    counts: dict[str, int] = defaultdict(int)
    width = max(2, len(str(len(captions))) - 1)
    rows = []
    order = {name: index for index, name in enumerate((*EMOTIONS, NEUTRAL))}
    for caption in sorted(captions, key=lambda c: order[c.emotion or NEUTRAL]):
        emotion = caption.emotion or NEUTRAL
        rows.append(
            {
                "prompt_id": f"{emotion}-{counts[emotion]:0{width}d}",
                "emotion": emotion,
                "valence": caption.valence,
                "arousal": caption.arousal,
                "set": caption.set,
                "template": caption.template,
                "wording": caption.wording,
                "split": splits[_split_key(caption)],
                "text": caption.text,
            }
        )
        counts[emotion] += 1
    return pd.DataFrame(rows, columns=PROMPTS.names)


def split_of_wordings(
    captions: Sequence[Caption], seed: int, targets: Mapping[str, float] = SHARES
) -> dict[str, str]:
    """Return wording -> split, such that the split sizes of each emotion approach `targets`.

    The wordings with most prompts are assigned first, equal ones in seeded order. A neutral caption has no
    wording; its text takes the wording's part.

    Raises:
        ContractError: one wording stands for two emotions.
    """
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    owner: dict[str, str] = {}
    for caption in captions:
        emotion, key = caption.emotion or NEUTRAL, _split_key(caption)
        if owner.setdefault(key, emotion) != emotion:
            advice = "Take the word out of the lists of one of them"
            got = f"'{caption.wording}' for {owner[key]} and {emotion}"
            raise ContractError(must("a wording", "stand for one emotion", got, next_step=advice))
        sizes[emotion][key] += 1
    splits: dict[str, str] = {}
    for emotion, wordings in sizes.items():
        total, filled = sum(wordings.values()), dict.fromkeys(targets, 0)
        order = {word: (-n, seed_for("split", seed, emotion, word)) for word, n in wordings.items()}
        for wording in sorted(order, key=order.__getitem__):
            # an empty split comes first, so that three wordings fill all three splits
            split = max(targets, key=lambda s: (filled[s] == 0, targets[s] - filled[s] / total))
            splits[wording] = split
            filled[split] += wordings[wording]
    return splits


def _split_key(caption: Caption) -> str:
    """Return the wording, or the text of a neutral prompt, which has no wording that could leak."""
    return caption.wording or caption.text


def _refuse_empty_and_repeated(captions: Sequence[Caption]) -> None:
    seen: dict[str, int] = {}
    for row, caption in enumerate(captions):
        text = " ".join(caption.text.split()).casefold()
        if not text:
            where = f"prompt {row}, {caption.emotion or NEUTRAL}"
            advice = "Correct the source of the prompt"
            raise ContractError(
                must("a prompt's text", "not be empty", caption.text, where=where, next_step=advice)
            )
        if text in seen:
            where = f"prompts {seen[text]} and {row}"
            advice = "Lower prompts.n_per_emotion or add prompt sets"
            raise ContractError(
                must("a prompt's text", "be unique", caption.text, where=where, next_step=advice)
            )
        seen[text] = row
