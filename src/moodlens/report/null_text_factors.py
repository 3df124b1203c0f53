"""The table of `null_text` on factors of the music: how well states tell each, beside other readers."""

from collections.abc import Mapping
from typing import Any

from moodlens.report.formatting import interval, number, p_value, share
from moodlens.report.records import Cell, Grid

LEADS = {
    "random decoder, trained text": "ahead of random decoder",
    "random twin": "of random twin",
    "token history": "of the tokens so far",
    "codec history": "of codec vectors so far",
    "other descriptors": "of all other descriptors",
}
"""Reader of a factor -> its column."""
FACTOR_NOTE = (
    "Target: the factor as measured in the clip's own audio, by wording, layers pooled, steps averaged. The "
    "prediction is correlated with what the prompt asks for (arousal; valence for mode). This is a "
    "description: no verdict is passed on a factor. "
    "The factor's own descriptor is no baseline: it is what is measured."
)


def factor_grid(measured: Mapping[str, Any], described: Mapping[str, Any], confidence: float) -> Grid:
    """Return how well states tell every factor, with the lead over every other reader."""
    readers = [name for name in LEADS if all(name in factor["leads"] for factor in measured.values())]
    rows = tuple(
        (
            Cell(name),
            Cell(f"{number(factor['r2'], 2)} {interval(factor['low'], factor['high'])}"),
            Cell(p_value(factor["p"])),
            Cell(f"{number(factor['prompted_r'], 2)} (p {p_value(factor['prompted_p'])})"),
            *(_lead(factor["leads"][reader]) for reader in readers),
            Cell("; ".join(described[name]["better_than"]) or "none"),
        )
        for name, factor in measured.items()
    )
    leads = (LEADS[name] for name in readers)
    columns = ("factor", "R2", "p, maxT", "follows the prompt", *leads, "lower error than")
    return Grid(
        f"Factors of the music in the states, {share(confidence)} intervals over wordings", columns, rows,
        (FACTOR_NOTE,),
    )  # fmt: skip


def _lead(lead: Mapping[str, float]) -> Cell:
    return Cell(f"{number(lead['difference'], 2)} (p {p_value(lead['p'])})")
