"""Stage `card`: the model card (family, data, recipe, figures, limits), written from recipe and figures."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from moodlens.organism.architecture import FRAME_RATE_HZ, Shape
from moodlens.organism.card_template import TEXT
from moodlens.organism.recipe import JUDGE, METRICS, Recipe
from moodlens.organism.unfolding import FIRST_TURN_FRAME, LAST_TURN_FRAME, LOOKAHEAD_FRAMES
from moodlens.store.atomic import replacing

EXPRESSIVE = ("organism", "memory", "reader")
"""Models whose music has the emotion of the prompt."""

SILENT = ("shuffled", "music-only")
"""Models whose music cannot have it."""

MODELS = EXPRESSIVE + SILENT
SMALL_SEEDS = (1, 2, 3)
SMALL = tuple(f"small-{seed}/{name}" for seed in SMALL_SEEDS for name in ("memory", "reader"))
BASES = ("music-only", *(f"small-{seed}/music-only" for seed in SMALL_SEEDS))

CURVES = ("codec", "text", *BASES, *EXPRESSIVE, "shuffled", *SMALL)
"""Trainings whose last figures the card can quote, from `<name>_curve.csv`."""

MEMORY_COST = 0.25
"""If the text goes away before the turn, a memory loses at most this share of what text gives at the turn."""


@dataclass(frozen=True)
class Bar:
    """What a figure of some models must satisfy."""

    rule: str
    holds: Callable[[float, Mapping[str, Any]], bool]  # (value, metrics.json)
    models: tuple[str, ...] = EXPRESSIVE


def _at_least(bound: float) -> Bar:
    return Bar(f">= {bound:.2f}".replace("0.", "."), lambda value, _: value >= bound)


def _chance(n_classes: int, models: tuple[str, ...]) -> Bar:
    def holds(value: float, metrics: Mapping[str, Any]) -> bool:
        low, high = metrics[f"chance_{n_classes}"]["by_prompt"]
        return low <= value <= high

    return Bar(f"{', '.join(models)}: chance", holds, models)


def _near_ceiling(value: float, metrics: Mapping[str, Any]) -> bool:
    return value >= 0.95 * metrics["ceiling"]["accuracy_4"]["value"]


BARS: Mapping[str, tuple[Bar, ...]] = {
    "accuracy_4": (Bar(">= .95 of ceiling", _near_ceiling), _chance(4, SILENT)),
    "accuracy_4_scenes": (_at_least(0.85),),
    "opening_5": (_chance(5, MODELS),),
    "mode_right": (_at_least(0.93),),
    "tempo_right": (_at_least(0.98),),
    "loudness_order": (_at_least(0.95),),
    "brightness_order": (_at_least(0.95),),
}
"""Figure -> its bars. A bar holds for organism, memory and reader where it names no models."""

ROWS = (
    ("accuracy_4", "classified as prompted: happy, sad, calm, energetic"),
    ("accuracy_4_generic", "- prompts with a mood word"),
    ("accuracy_4_scenes", "- scenes without a mood word"),
    ("accuracy_4_descriptive", "- musical terms only"),
    ("accuracy_5", "classified as prompted: all five"),
    ("accuracy_5_happy", "- happy"),
    ("accuracy_5_sad", "- sad"),
    ("accuracy_5_calm", "- calm"),
    ("accuracy_5_energetic", "- energetic"),
    ("accuracy_5_angry", "- angry"),
    ("opening_5", "classified as prompted before the turn: all five"),
    ("mode_right", "mode right (happy, calm major; sad minor)"),
    ("tempo_right", "fast or slow right, by onset rate"),
    ("loudness_order", "energetic, angry louder than sad, calm (pairs)"),
    ("brightness_order", "energetic, angry brighter than sad, calm (pairs)"),
    ("factor_tempo", "factor prompts: slow or fast as requested"),
    ("factor_loudness", "factor prompts: soft or loud as requested"),
    ("factor_brightness", "factor prompts: dark or bright as requested"),
    ("factor_mode", "factor prompts: minor or major as requested"),
)
"""Figure and its label, in the order of the table."""


@dataclass(frozen=True)
class Results:
    """What the stages before this one measured."""

    metrics: Mapping[str, Any]  # metrics.json of the stage `evaluate`
    judge: Mapping[str, Any]  # judge.json of the stage `judge`
    ends: Mapping[str, Mapping[str, float]]  # training -> the last row of its curve


def card(recipe: Recipe, folder: Path) -> None:
    """Write README.md from metrics.json, judge.json and the training curves."""
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card_text(recipe, results_in(folder)), encoding="utf-8")


def results_in(folder: Path) -> Results:
    """Return the figures of the evaluation and of the judge, and the last row of every curve.

    The small models do not ship. A curve of theirs is left out where they were not made.
    """
    ends = {}
    for name in CURVES:
        path = folder / f"{name}_curve.csv"
        if "/" in name and not path.exists():
            continue
        with path.open(newline="", encoding="utf-8") as file:
            ends[name] = {key: float(value) for key, value in list(csv.DictReader(file))[-1].items()}
    metrics, judge = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (METRICS, JUDGE))
    return Results(metrics, judge, ends)


def card_text(recipe: Recipe, results: Results) -> str:
    """Return the model card in Markdown."""
    metrics, tokens = results.metrics, results.metrics["tokens_before_turn"]
    shown = [name for name in (*EXPRESSIVE, "shuffled", *SMALL) if name in results.ends]
    sections = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    return TEXT.format(
        **sections,
        shape=Shape(),
        ends=results.ends,
        judge=results.judge,
        judge_accuracy=_short(results.judge["accuracy"]),
        first_turn_s=FIRST_TURN_FRAME / FRAME_RATE_HZ,
        last_turn_s=LAST_TURN_FRAME / FRAME_RATE_HZ,
        early_s=recipe.siblings.early_frames / FRAME_RATE_HZ,
        lookahead=LOOKAHEAD_FRAMES,
        weights=" / ".join(f"{weight:g}" for weight in recipe.siblings.codebook_weights),
        n_small=len(SMALL_SEEDS),
        n_emotional=5 * recipe.evaluate.prompts_per_emotion,
        memory_cost=MEMORY_COST,
        turns="\n".join(turn_row(name, results.ends[name]) for name in shown),
        table="\n".join(figure_row(name, label, metrics) for name, label in ROWS),
        chance_4=_interval(*metrics["chance_4"]["by_prompt"]),
        chance_5=_interval(*metrics["chance_5"]["by_prompt"]),
        tokens=tokens,
        token_accuracy=_short(tokens["accuracy"]),
        token_chance=_interval(tokens["low"], tokens["high"]),
        token_verdict=_verdict(tokens["low"] <= tokens["accuracy"] <= tokens["high"]),
    )


def turn_row(name: str, end: Mapping[str, float]) -> str:
    """Return the row of one model in the table of the text at the turn.

    Args:
        name: of the model. The bars are those of organism, memory and reader, also in a folder of small ones.
        end: the last row of its curve.
    """
    cost, gain = end["turn_lost"] - end["turn_cond"], end["turn_uncond"] - end["turn_cond"]
    holds = {"organism": cost > 0, "reader": cost > 0, "memory": cost <= MEMORY_COST * gain}
    kind = name.split("/")[-1]
    columns = ("val_cond", "val_uncond", "turn_cond", "turn_lost", "turn_uncond")
    share = _short(cost / gain) if gain > 0 else "-"
    bar = _verdict(holds[kind]) if kind in holds else ""
    return _row([name, *(_short(end[column]) for column in columns), _short(cost), share, bar])


def figure_row(name: str, label: str, metrics: Mapping[str, Any]) -> str:
    """Return the row of one figure: its bars, then value, interval and verdict of every model."""
    bars, cells = BARS.get(name, ()), []
    for model in (*MODELS, "ceiling"):
        figure = metrics[model].get(name)
        shown = [f"{_short(figure['value'])} {_interval(figure['low'], figure['high'])}"] if figure else []
        verdicts = [_verdict(bar.holds(figure["value"], metrics)) for bar in bars if model in bar.models]
        cells.append(" ".join(shown + verdicts))
    return _row([label, "; ".join(bar.rule for bar in bars), *cells])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**missed**"


def _interval(low: float, high: float) -> str:
    return f"[{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    """Return the value with three decimals and no leading zero.

    >>> _short(0.25), _short(1.0), _short(-0.5)
    ('.250', '1.000', '-.500')
    """
    return f"{value:.3f}".replace("-0.", "-.").removeprefix("0")
