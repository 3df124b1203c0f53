"""Stage `evaluate`: the model card's figures of both trained models, beside their ceiling."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from moodlens.organism.architecture import build_tokenizer, codec_of
from moodlens.organism.commands.files import METRICS, SHUFFLED, load_model
from moodlens.organism.evaluate import (
    Bootstrap,
    PromptPlan,
    ceiling_clips,
    chance_interval,
    factor_thresholds,
    generated_clips,
    measure,
    reference_clips,
    stock_generator,
)
from moodlens.organism.recipe import Recipe, pick
from moodlens.store.atomic import replacing


def run(recipe: Recipe, folder: Path) -> None:
    """Generate, describe and judge; write metrics.json."""
    part = recipe.evaluate
    bootstrap = pick(Bootstrap, part)
    reference = reference_clips(part.seed, part.n_reference_clips)
    thresholds = factor_thresholds(reference)
    judged = partial(measure, reference=reference, thresholds=thresholds, bootstrap=bootstrap)
    codec = codec_of(load_model(folder))
    figures = {"ceiling": judged(ceiling_clips(part.seed, part.n_reference_clips, codec))}
    for name, path in (("organism", folder), ("shuffled", folder / SHUFFLED)):
        generate = stock_generator(load_model(path), build_tokenizer())
        figures[name] = judged(generated_clips(pick(PromptPlan, part), generate, partial(_say, name)))
    four = figures["shuffled"]["accuracy_4"]
    report = {
        **{name: {key: asdict(figure) for key, figure in found.items()} for name, found in figures.items()},
        "chance_4": {
            "by_prompt": chance_interval(four.n_prompts, 4, part.confidence),
            "by_clip": chance_interval(four.n_clips, 4, part.confidence),
        },
        "thresholds": thresholds,
    }
    with replacing(folder / METRICS) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _say(name: str, text: str) -> None:
    print(f"{name}: {text}", flush=True)
