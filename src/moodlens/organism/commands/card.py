"""Stage `card`: write the model card from figures and curves."""

import csv
import json
from pathlib import Path

from moodlens.organism.card import card_text
from moodlens.organism.commands.files import METRICS
from moodlens.organism.recipe import Recipe
from moodlens.store.atomic import replacing

CURVES = ("codec", "text", "music", "organism", "shuffled")


def run(recipe: Recipe, folder: Path) -> None:
    """Write README.md."""
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    ends = {}
    for name in CURVES:
        with (folder / f"{name}_curve.csv").open(newline="", encoding="utf-8") as file:
            ends[name] = {key: float(value) for key, value in list(csv.DictReader(file))[-1].items()}
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card_text(recipe, metrics, ends), encoding="utf-8")
