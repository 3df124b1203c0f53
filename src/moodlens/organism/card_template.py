"""The text of the model card; `card.card_text` fills its slots."""

TEXT = """\
---
library_name: transformers
license: apache-2.0
tags: [musicgen, text-to-audio, synthetic, interpretability, calibration]
---
# The organism and its siblings

Small MusicGens (`EncodecModel` + `T5EncoderModel` + MusicGen decoder, stock transformers classes), trained
by this project on music that this project synthesised from known emotion parameters. They calibrate methods
that test whether a music model encodes emotion, and whether it remembers its text or reads it again: here
the answers are known. This file is written by `python -m moodlens.organism card`; do not edit it.

```python
from transformers import AutoProcessor, MusicgenForConditionalGeneration

home = "models/organism"  # or a sibling: "models/organism/memory"
model = MusicgenForConditionalGeneration.from_pretrained(home)
inputs = AutoProcessor.from_pretrained(home)(text=["sad flute piece"], return_tensors="pt")
waveform = model.generate(**inputs)  # (1, 1, 64000): 4 s at 16 kHz, sampled, guidance 3, top-k 50
```

`shared.safetensors` holds the text encoder and the codec of all models; the other folders link to it.
`decoder.safetensors` holds the decoder and the text projection of one model.

## The family
| model | folder | what it sees in training | text code | music | memory | re-reading |
|---|---|---|---|---|---|---|
| organism | `.` | the caption at every step, as published models do | yes | yes | measured | measured |
| memory | `memory/` | in {family.memory.lost:.0%} of clips the caption goes away at a random step before \
the turn | yes | yes | yes | - |
| reader | `reader/` | in {family.reader.late:.0%} of clips the caption comes with the turn | yes | yes | \
no | yes |
| shuffled | `shuffled/` | as the organism, but the words for emotion, tempo, loudness, brightness and \
mode are those of another piece | yes | no | no | no |
| memory, text path cut | - | as memory; the cross-attention of its first layers is cut when it is loaded \
(`organism-memory-cut`) | yes | yes | yes, not in these layers | - |
| music-only | `music-only/` | no text; the base of the other models | - | no | no | no |
| random | - | nothing: untrained, drawn when it is loaded (`organism-random`) | no | no | no | no |
| small memory, small reader | `small-1/` to `small-3/` | as memory and reader, from {n_small} further \
training seeds, each with a base of its own; they do not ship, `make organism` makes them | yes | yes \
| as memory, reader | as memory, reader |

Text code: the output of the text encoder tells the emotions apart. Music: the generated music has the
emotion of the prompt. Memory: the text before the turn decides the music behind it, also when the text is
gone. Re-reading: the text at the turn decides. Measured: the training settles neither. In
{family.organism.never:.0%} of the clips every sibling sees no caption, as classifier-free guidance
requires.

## Data
{corpus.n_clips:,} clips of 4 s, 16 kHz mono, composed and synthesised by `moodlens.organism` (corpus seed
{corpus.seed}); no recorded music and no text from elsewhere. Every piece unfolds. Its opening has the key
and the instrument of what follows and is the same for every emotion: tempo, loudness and brightness lie in
the middle, and only the tonic and its fifth sound. The turn to the emotion lies between {first_turn_s:g}
and {last_turn_s:g} s.

Valence sets mode and dissonance. Arousal sets tempo, density, loudness, brightness, percussion,
articulation. Key, instrument, progression and melody are independent of both. Five regions of the affect
plane are named happy, sad, calm, energetic, angry. In about 30 % of the pieces tempo, loudness, brightness
and mode are drawn independently of each other, and captions name only these factors. Captions come from a
grammar (mood words, scenes without mood words, musical terms, factors, neutral) and are drawn anew each
time a clip is used.

## Recipe
| part | what |
|---|---|
| codec | 16 kHz, 50 frames/s, 4 codebooks x 512, not causal; {codec.n_steps:,} steps of \
{codec.batch_crops} x {codec.crop_s:g} s; codebooks set by residual k-means at step {codec.plant_step}, \
then moving averages, straight-through gradient, dead codes set anew; spectral loss at 4 resolutions. \
Held-out spectral convergence {ends[codec][val_convergence]:.3f} |
| text | word-level T5 vocabulary of the grammar (lower case; other words are spelt), T5 encoder d = \
{shape.d_text}, {shape.n_text_layers} layers; {text.n_steps:,} steps of {text.batch_captions} captions, in \
which linear heads predict affect, tempo, loudness, brightness, mode, instrument and key (held-out error \
{ends[text][val_continuous]:.3f} of variances near 1); then frozen, as MusicGen's T5 is |
| music-only | d = {shape.d_model}, {shape.n_layers} layers, {shape.n_heads} heads, ffn {shape.d_ffn}, no \
dropout, delay pattern 0-3, bfloat16 autocast, AdamW; {music.n_steps:,} steps of {music.batch_clips} clips \
at rate {music.learning_rate:g} (cosine); codebook weights {weights}; weight {music.turn_weight:g} on the \
frames at the turn |
| organism, memory, reader, shuffled | music-only with new cross-attention and text projection, the same \
for all; then {siblings.n_steps:,} steps at rate {siblings.learning_rate:g} (cosine), on the same clips in \
the same order: {siblings.batch_clips} whole clips and the first {early_s:g} s of {siblings.early_clips} \
more, which turn early; weight {siblings.turn_weight:g} on the frames at the turn |
| small | d = {small.d_model}, {small.n_layers} layers, {small.n_heads} heads; {small.music_steps:,} steps \
of the base, {small.sibling_steps:,} of memory and of reader |

`dvc repro` in this folder makes every decoder and the text encoder from nothing on one CPU thread; killed
training resumes and ends with the same bits. Curves: `*_curve.csv`, `small-*/*_curve.csv`.

The shipped codec is that of the first edition: it was trained on scores without openings, with an earlier
revision of the chord and drum gains, because training it anew with this recipe's learning rate diverged in
this edition (spectral convergence .99 against .29 at step 1,500). The stage `codec` is therefore frozen in
`dvc.yaml` until its recipe is mended.

## The text at the turn
Held-out loss in nats per token, from the last row of each curve. *Lost*: the text goes away {lookahead}
frames before the turn. Cost: lost minus with text. Share: the cost over the whole gain of the text at the
turn. Bars: the loss of the text costs something where the model has to read it at the turn, and at most
{memory_cost:g} of the gain where it has to remember.

| model | all frames: with text | without | at the turn: with text | lost | without | cost | share | bar |
|---|---|---|---|---|---|---|---|---|
{turns}

## Figures
Generated by transformers' own `generate()` with the settings in `generation_config.json`:
{evaluate.n_seeds} seeds x {n_emotional} prompts of five emotions and {evaluate.n_factor_prompts} factor
prompts; no figure was tuned on them. All figures but the one of the opening hear the last
{judge[window_s]:g} s of a clip, behind the last possible turn. Classifier: logistic regression on tempo,
onset rate, brightness, loudness and mode margin, fitted on {evaluate.n_reference_clips} synthesiser clips
per emotion; the threshold of each factor is fitted on synthesiser clips too. Ceiling: the same classifier
on other synthesiser clips after the codec. Brackets: {evaluate.confidence:.0%} interval, prompts resampled
within emotion.

| figure | bar | organism | memory | reader | shuffled | music-only | ceiling |
|---|---|---|---|---|---|---|---|
{table}

Chance is a binomial interval with prompts as trials: {chance_4} for four emotions
({evaluate.confidence:.0%}), {chance_5} for five before the turn (99 %). The figure of the opening hears
what comes before the first possible turn, where nothing may tell the emotions apart.

Tokens of the corpus before the turn: a regression tells the emotion of {tokens[n_pieces]:,} other pieces
with accuracy {token_accuracy}, chance {token_chance}: {token_verdict}.

Judge (`judge.json`): logistic regression on the same descriptors, fitted on {judge[n_clips]} synthesiser
clips after the codec; accuracy {judge_accuracy} on as many others. Its mean log-odds differ by
{judge[gaps][happy - sad]:.1f} nats between happy and sad clips, and by {judge[gaps][energetic - calm]:.1f}
nats between energetic and calm ones.

## Limits
- The family is trained on the words of its grammar only. Other words are spelt letter by letter and were
  never trained.
- Four instruments, four keys, 4 s: a calibration standard, not music for listening. Longer clips exceed the
  length of the training clips.
- Emotion is defined by the synthesiser's rules, which make it audible in acoustic factors. No listener
  rated these clips.
- Angry and energetic share tempo and loudness; only mode and dissonance distinguish them.
- The codec is not causal: tokens shortly before the turn can tell of it. Every measurement before the turn
  leaves out {lookahead} frames.

## Licence
Apache-2.0, as the project; weights, captions and audio are the project's own work.
"""
