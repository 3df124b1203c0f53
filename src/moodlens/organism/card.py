"""Stage `card`: the model card (data, recipe, figures, limits, licence), written from recipe and figures."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moodlens.organism.architecture import FRAME_RATE_HZ
from moodlens.organism.recipe import METRICS, Recipe
from moodlens.store.atomic import replacing

CURVES = ("codec", "text", "music", "organism", "shuffled")
"""Trainings whose last figures the card quotes from `<name>_curve.csv`."""

BARS: Mapping[str, Callable[[float, float], bool]] = {
    "accuracy_4": lambda value, ceiling: value >= 0.95 * ceiling,
    "accuracy_4_scenes": lambda value, _: value >= 0.85,
    "mode_right": lambda value, _: value >= 0.93,
    "tempo_right": lambda value, _: value >= 0.98,
    "loudness_order": lambda value, _: value >= 0.95,
    "brightness_order": lambda value, _: value >= 0.95,
}
"""Figure -> function of (the organism's value, the ceiling) that says whether the value meets the bar."""

ROWS = (
    ("accuracy_4", "classified as prompted: happy, sad, calm, energetic", ">= .95 of ceiling"),
    ("accuracy_4_generic", "- prompts with a mood word", ""),
    ("accuracy_4_scenes", "- scenes without a mood word", ">= .85"),
    ("accuracy_4_descriptive", "- musical terms only", ""),
    ("accuracy_5", "classified as prompted: all five", ""),
    ("accuracy_5_happy", "- happy", ""),
    ("accuracy_5_sad", "- sad", ""),
    ("accuracy_5_calm", "- calm", ""),
    ("accuracy_5_energetic", "- energetic", ""),
    ("accuracy_5_angry", "- angry", ""),
    ("mode_right", "mode right (happy, calm major; sad minor)", ">= .93"),
    ("tempo_right", "fast or slow right, by onset rate", ">= .98"),
    ("loudness_order", "energetic, angry louder than sad, calm (pairs)", ">= .95"),
    ("brightness_order", "energetic, angry brighter than sad, calm (pairs)", ">= .95"),
    ("factor_tempo", "factor prompts: slow or fast as requested", ""),
    ("factor_loudness", "factor prompts: soft or loud as requested", ""),
    ("factor_brightness", "factor prompts: dark or bright as requested", ""),
    ("factor_mode", "factor prompts: minor or major as requested", ""),
)

TEXT = """\
---
library_name: transformers
license: apache-2.0
tags: [musicgen, text-to-audio, synthetic, interpretability, calibration]
---
# The organism

A small MusicGen (`EncodecModel` + `T5EncoderModel` + MusicGen decoder, stock transformers classes), trained
by this project on music that this project synthesised from known emotion parameters. It calibrates methods
that test whether a music model encodes emotion: here the answer is known for every factor. The folder
`shuffled/` holds its twin, whose training text carries no information about the emotion of the music. This
file is written by `python -m moodlens.organism card`; do not edit it.

```python
from transformers import AutoProcessor, MusicgenForConditionalGeneration

model = MusicgenForConditionalGeneration.from_pretrained("models/organism")
inputs = AutoProcessor.from_pretrained("models/organism")(text=["sad flute piece"], return_tensors="pt")
waveform = model.generate(**inputs)  # (1, 1, 64000): 4 s at 16 kHz, sampled, guidance 3, top-k 50
```

## Data
{n_clips:,} clips of 4 s, 16 kHz mono, composed and synthesised by `moodlens.organism` (corpus seed
{corpus_seed}); no recorded music and no text from elsewhere. Valence sets mode and dissonance; arousal sets
tempo, density, loudness, brightness, percussion, articulation; key, instrument, progression and melody are
independent of both. Five regions of the affect plane are named happy, sad, calm, energetic, angry. In about
30 % of the pieces tempo, loudness, brightness and mode are drawn independently of each other, and captions
name only these factors. Captions come from a grammar (mood words, scenes without mood words, musical terms,
factors, neutral) and are drawn anew each time a clip is used.

## Recipe
| part | what |
|---|---|
| codec | 16 kHz, 50 frames/s, 4 codebooks x 512, not causal; {codec_steps:,} steps of {codec_crops} x \
{crop_s:g} s; codebooks set by residual k-means at step {plant_step}, then moving averages, \
straight-through gradient, dead codes set anew; spectral loss at 4 resolutions. Held-out spectral \
convergence {convergence:.3f} |
| text | word-level T5 vocabulary of the grammar (lower case; other words are spelt), T5 encoder d = 128, 2 \
layers; {text_steps:,} steps of {captions} captions, in which linear heads predict affect, tempo, loudness, \
brightness, mode, instrument and key (held-out error {meaning:.3f} of variances near 1); then frozen, as \
MusicGen's T5 is |
| decoder | d = 192, 6 layers, 6 heads, ffn 768, no dropout, delay pattern 0-3, bfloat16 autocast, AdamW. \
Music first: {music_steps:,} steps of {music_clips} clips at rate {music_rate:g}, after which the text \
encoder is dropped. Then new cross-attention and projection, and {steps:,} steps of {clips} clips and the \
first {opening:g} s of {opening_clips} more at rate {rate:g} (cosine); {dropout:.0%} of captions dropped \
for guidance; codebook weights {weights} |
| shuffled twin | the organism with cross-attention and projection drawn anew once more, then \
{shuffled_steps:,} steps in which the words for emotion, tempo, loudness, brightness and mode are those of \
another clip, drawn at random each time a clip is used; instrument and key words stay true |
| random twin | untrained, drawn when it is loaded (checkpoint `organism-random`) |

Held-out loss in nats per token (with text / without): organism {cond:.3f} / {uncond:.3f}, shuffled
{shuffled_cond:.3f} / {shuffled_uncond:.3f}. Text lowers the loss mostly in the first beats, so the difference
is small. Curves: `*_curve.csv`. `dvc repro` in this folder makes everything from nothing on one CPU thread;
killed training resumes and ends with the same bits. The shipped weights differ in one respect: the codec was
trained on clips with the chord and drum gains of an earlier revision of the composer.

## Figures
Generated by transformers' own `generate()` with the settings in `generation_config.json`: {n_seeds} seeds x
{n_emotional} prompts of five emotions and {n_factor} factor prompts; no figure was tuned on them.
Classifier: logistic regression on tempo, onset rate, brightness, loudness and mode margin, fitted on
{n_reference} synthesiser clips per emotion; the threshold of each factor is fitted on synthesiser clips too.
Ceiling: the same classifier on other synthesiser clips after the codec. Brackets: {confidence:.0%} interval,
prompts resampled within emotion.

| figure | bar | organism | ceiling | shuffled |
|---|---|---|---|---|
{table}

The shuffled twin's four-emotion accuracy should lie within chance: {confidence:.0%} binomial interval around
.25 by clip {by_clip}, by prompt {by_prompt}.

## Limits
- It is trained on the words of its grammar only. Other words are spelt letter by letter and were never
  trained.
- Four instruments, four keys, 4 s: a calibration standard, not music for listening. Longer clips exceed the
  length of its training clips.
- Emotion is defined by the synthesiser's rules, which make it audible in acoustic factors. No listener rated
  these clips.
- Angry and energetic share tempo and loudness; only mode and dissonance distinguish them.

## Licence
Apache-2.0, as the project; weights, captions and audio are the project's own work.
"""


def card(recipe: Recipe, folder: Path) -> None:
    """Write README.md from metrics.json and the training curves."""
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card_text(recipe, *figures_in(folder)), encoding="utf-8")


def figures_in(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Return the evaluation's figures, and per training the last row of its curve."""
    ends = {}
    for name in CURVES:
        with (folder / f"{name}_curve.csv").open(newline="", encoding="utf-8") as file:
            ends[name] = {key: float(value) for key, value in list(csv.DictReader(file))[-1].items()}
    return json.loads((folder / METRICS).read_text(encoding="utf-8")), ends


def card_text(recipe: Recipe, metrics: Mapping[str, Any], ends: Mapping[str, Mapping[str, float]]) -> str:
    """Return the model card in Markdown.

    Args:
        recipe: models/organism/params.yaml.
        metrics: metrics.json of the stage `evaluate`.
        ends: training -> the last row of its curve.
    """
    return TEXT.format(
        n_clips=recipe.corpus.n_clips,
        corpus_seed=recipe.corpus.seed,
        codec_steps=recipe.codec.n_steps,
        codec_crops=recipe.codec.batch_crops,
        crop_s=recipe.codec.crop_s,
        plant_step=recipe.codec.plant_step,
        convergence=ends["codec"]["val_convergence"],
        text_steps=recipe.text.n_steps,
        captions=recipe.text.batch_captions,
        meaning=ends["text"]["val_continuous"],
        music_steps=recipe.music.stop_step,
        music_clips=recipe.music.batch_clips,
        music_rate=recipe.music.learning_rate,
        steps=recipe.organism.n_steps,
        opening=recipe.organism.opening_steps / FRAME_RATE_HZ,
        opening_clips=recipe.organism.opening_clips,
        clips=recipe.organism.batch_clips,
        rate=recipe.organism.learning_rate,
        dropout=recipe.organism.caption_dropout,
        weights=" / ".join(f"{weight:g}" for weight in recipe.organism.codebook_weights),
        shuffled_steps=recipe.shuffled.n_steps,
        cond=ends["organism"]["val_cond"],
        uncond=ends["organism"]["val_uncond"],
        shuffled_cond=ends["shuffled"]["val_cond"],
        shuffled_uncond=ends["shuffled"]["val_uncond"],
        n_seeds=recipe.evaluate.n_seeds,
        n_emotional=5 * recipe.evaluate.prompts_per_emotion,
        n_factor=recipe.evaluate.n_factor_prompts,
        n_reference=recipe.evaluate.n_reference_clips,
        confidence=recipe.evaluate.confidence,
        table="\n".join(_row(name, label, bar, metrics) for name, label, bar in ROWS),
        by_clip=_interval(*metrics["chance_4"]["by_clip"]),
        by_prompt=_interval(*metrics["chance_4"]["by_prompt"]),
    )


def _row(name: str, label: str, bar: str, metrics: Mapping[str, Any]) -> str:
    cells = []
    for model in ("organism", "ceiling", "shuffled"):
        figure = metrics[model].get(name)
        cells.append(
            f"{_short(figure['value'])} {_interval(figure['low'], figure['high'])}" if figure else ""
        )
    if name in BARS:
        ceiling = metrics["ceiling"].get(name, {"value": 1.0})["value"]
        holds = BARS[name](metrics["organism"][name]["value"], ceiling)
        cells[0] += " holds" if holds else " **missed**"
    return f"| {label} | {bar} | {' | '.join(cells)} |"


def _interval(low: float, high: float) -> str:
    return f"[{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    """Return the value with three decimals and no leading zero.

    >>> _short(0.25), _short(1.0)
    ('.250', '1.000')
    """
    return f"{value:.3f}".removeprefix("0")
