"""Tests of the stages temporal, attention, geometry, relate and latents under calibration.

Each test takes simulated layers for what its stage reads: windows of time, heads, descriptors, latents.
"""

import numpy as np

from moodlens.attention.contrast import emotion_test, paired_test
from moodlens.base.axes import EMOTIONS
from moodlens.calibration.simulate import (
    N_PERMUTATIONS,
    PLACES,
    PLACES_APART,
    Instrument,
    Sample,
    Setting,
    Test,
)
from moodlens.geometry.circumplex import affect_distances, emotion_map, rank_correlations
from moodlens.geometry.family import silhouettes
from moodlens.latents.evidence import correlations
from moodlens.latents.selectivity import selectivity
from moodlens.prompts.lexicon import AFFECT
from moodlens.relate.family import Tested, descriptor_tests, distance_tests, matched_test
from moodlens.relate.matching import DESCRIPTORS, Matches, matches
from moodlens.stats.bootstrap import unit_resamples
from moodlens.stats.gram import squared_distances
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values
from moodlens.stats.sign_flip import random_signs
from moodlens.temporal.clip_scalars import by_emotion
from moodlens.temporal.divergence import flipped_changes
from moodlens.temporal.rhythm import TempoMatch, tempo_match, within_emotion
from moodlens.temporal.separation import clusters

N_SITES, N_DESCRIBED_SITES = 3, 2
"""Sites that maxT runs over; sites that descriptors are predicted from."""
N_WINDOWS = 6
N_HEADS = 6
N_READ = 4
"""Descriptors, or other numbers per clip: as many dimensions of a simulated layer."""
N_DESCRIBED, N_READ_FOLDS = 99, 4
"""Relabellings and folds of the descriptor regressions, the slowest of these tests."""
N_LATENTS, MIN_WORDINGS = 64, 5
N_RELABELLED_LATENTS = 3999
"""Relabellings of the test of latents: Benjamini-Hochberg over 64 needs p well below .05 / 64."""
ALPHA, RIDGE = 0.05, 0.1

EMOTIONAL = Setting(True, 12, 0.0, everywhere=0.3)
"""Emotion in every layer and nothing else in common. Within an emotion the layers are unrelated, and no map
of the emotions is nearer to the circumplex than another."""
STEADY = Setting(True, 12, 0.5, everywhere=0.1)
"""Emotion equally strong early and late."""


def _table(data: Sample, rng: np.random.Generator) -> np.ndarray:
    return data.design.relabellings("wording", N_PERMUTATIONS, rng)


def _affect(data: Sample) -> np.ndarray:
    return np.array([AFFECT[emotion] for emotion in EMOTIONS[: data.design.n_classes]])


def _squares(data: Sample) -> list[np.ndarray]:
    return [squared_distances(gram) for gram in data.unit_grams[:N_SITES]]


def silhouette(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of the silhouettes of a few sites."""
    table = _table(data, rng)
    return float(max_t(np.stack([silhouettes(np.sqrt(squares), table) for squares in _squares(data)])).min())


def circumplex(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of distances against valence-arousal distances, all pairs of wordings."""
    table, expected = _table(data, rng), affect_distances(_affect(data))
    return float(max_t(np.stack([rank_correlations(s, expected, table) for s in _squares(data)])).min())


def circumplex_of_emotions(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of the emotions' own distances, over all 24 renamings; 1 if they are not apart."""
    labels = data.design.unit_labels("wording")
    counts = unit_resamples(labels, 99, rng)
    expected = affect_distances(_affect(data))
    result = emotion_map(data.unit_grams[0], labels, expected, counts, 0.95, ())
    return 1.0 if result is None or result.p is None else result.p


def cluster(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest p of a cluster of windows, two layers of six windows."""
    f = pseudo_f(data.unit_grams[: 2 * N_WINDOWS], _table(data, rng))
    results = clusters(f.reshape(2, N_WINDOWS, -1), ALPHA)
    return min((result.p for result in results), default=1.0)


def change(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of early against late, over a few layers."""
    labels = data.design.unit_labels("wording")
    signs = random_signs(len(labels), N_PERMUTATIONS, rng)
    pairs = data.unit_rows[: 2 * N_SITES].reshape(N_SITES, 2, *data.unit_rows.shape[1:])
    return float(
        max_t(np.stack([flipped_changes(early, late, labels, signs) for early, late in pairs])).min()
    )


def one_number(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of numbers such as magnitude or entropy, by emotion."""
    results = by_emotion(data.unit_rows[0, :, :N_READ].T, _table(data, rng))
    return min(result.p_max for result in results)


def beat(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of spectra against their own clip's tempo, on data where the two are unrelated."""
    design = data.design
    power = np.exp(2 * data.rows[0].astype(np.float64))
    frequencies = np.linspace(0.5, 4.0, power.shape[1])
    tempo = 2.0 + np.clip(data.rows[1, :, 0] / 2, -1, 1)
    labels = design.unit_labels("wording")
    exchanges = within_emotion(labels, np.bincount(design.wordings), N_PERMUTATIONS, rng)
    peaks = frequencies[power.argmax(axis=1)]
    result: TempoMatch = tempo_match(frequencies, power, peaks, tempo, data.of_clip, labels, exchanges)
    return float(p_values(result.null))


def _heads(data: Sample) -> np.ndarray:
    return data.prompt_rows[0, :, :N_HEADS].reshape(data.design.n_prompts, 2, -1)


def attention_contrast(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of emotion words against matched words, over heads."""
    tested = paired_test(_heads(data), data.design.wordings, N_PERMUTATIONS, 1, 0.95, rng)
    return float(tested.p_max.min())


def attention_by_emotion(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of a head's entropy or reach by emotion."""
    return float(emotion_test(_heads(data), data.design, N_PERMUTATIONS, rng).p_max.min())


def mantel(which: str) -> Test:
    """Return the smallest maxT p of the correlation of distances in the states and in the sound.

    `which`: simple, within_emotion (pairs of one emotion) or partial (the text's distances held constant).
    """

    def p(data: Sample, rng: np.random.Generator) -> float:
        design, grams = data.design, data.unit_grams
        labels, sizes = design.unit_labels("wording"), np.bincount(design.wordings)
        states, sound, text = grams[:N_SITES], grams[N_SITES], grams[N_SITES + 1]
        results = distance_tests(states, sound, text, labels, sizes, N_PERMUTATIONS, rng)
        tested: Tested | None = getattr(results, which)
        return 1.0 if tested is None else float(tested.p_max.min())

    return p


def _matching(data: Sample, rng: np.random.Generator, n: int = N_PERMUTATIONS) -> tuple[Matches, np.ndarray]:
    affect = _affect(data)
    table = data.design.relabellings("wording", n, rng)
    acoustic = data.rows[N_SITES, :, : len(DESCRIPTORS)].astype(np.float64)
    return matches(acoustic, affect[:, 0], affect[:, 1], table[:, data.of_clip]), table


def acoustic_match(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of the share of clips whose sound fits the emotion of their prompt."""
    return float(p_values(_matching(data, rng)[0].share))


def matched_signal(data: Sample, rng: np.random.Generator) -> float:
    """Return the smaller maxT p of the effect on clips that match; states and sound resemble each other."""
    matching, table = _matching(data, rng, N_DESCRIBED)
    sites = [data.site(layer) for layer in range(N_DESCRIBED_SITES)]
    tested = matched_test(sites, matching.matched, data.of_clip, table)
    return 1.0 if tested is None else float(tested.effect.p_max.min())


def _descriptors(data: Sample, rng: np.random.Generator) -> tuple[Tested, Tested | None]:
    if "descriptors" not in data.read:
        design = data.design
        n_units = len(design.unit_labels("wording"))
        sites = [data.site(layer) for layer in range(N_DESCRIBED_SITES)]
        acoustic = data.rows[N_SITES, :, :N_READ].astype(np.float64)
        folds = rng.permutation(n_units) % N_READ_FOLDS
        data.read["descriptors"] = descriptor_tests(
            sites,
            data.unit_grams[:N_DESCRIBED_SITES],
            acoustic,
            data.of_clip,
            folds,
            np.bincount(design.wordings),
            RIDGE,
            N_DESCRIBED,
            rng,
        )
    return data.read["descriptors"]


def descriptor_between(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of a descriptor predicted from a site, wordings held out."""
    return float(_descriptors(data, rng)[0].p_max.min())


def descriptor_within(data: Sample, rng: np.random.Generator) -> float:
    """Return the same p within prompts."""
    tested = _descriptors(data, rng)[1]
    return 1.0 if tested is None else float(tested.p_max.min())


def latents(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest q of latents' selectivity; it is at most .05 if any latent is called selective."""
    pooled = np.maximum(data.prompt_rows[0, :, :N_LATENTS], 0)
    return float(selectivity(pooled, data.design, N_RELABELLED_LATENTS, MIN_WORDINGS, rng).q.min())


def latent_correlates(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest q of the correlations of latents and descriptors."""
    pooled = np.maximum(data.prompt_rows[0, :, :8], 0)
    acoustic = data.prompt_rows[1, :, :N_READ]
    names = tuple(str(i) for i in range(N_READ))
    return float(correlations(pooled, acoustic, names, data.design.wordings, 999, rng).q.min())


TESTS = (
    Instrument("silhouette, best of 3 places", PLACES, silhouette),
    Instrument("circumplex RSA over wordings, best of 3", PLACES, circumplex),
    Instrument(
        "circumplex RSA over emotions",
        EMOTIONAL,
        circumplex_of_emotions,
        why_conservative="24 renamings: p is 1/24 or at least 2/24; none where emotions are not apart",
    ),
    Instrument("clusters in time, 2 layers x 6 windows", PLACES, cluster),
    Instrument("early against late, best of 3 layers", STEADY, change),
    Instrument("one number per clip, best of 4", PLACES, one_number),
    Instrument("beat in the states", PLACES_APART, beat),
    Instrument("attention to emotion words, best of 6 heads", PLACES, attention_contrast),
    Instrument("attention by emotion, best of 6 heads", PLACES, attention_by_emotion),
    Instrument("Mantel, best of 3 places", PLACES_APART, mantel("simple")),
    Instrument("Mantel inside emotions, best of 3 places", EMOTIONAL, mantel("within_emotion")),
    Instrument("Mantel given the text, best of 3 places", PLACES_APART, mantel("partial")),
    Instrument("clips that sound as intended", PLACES, acoustic_match),
    Instrument("effect on clips that match, best of 2 places", PLACES, matched_signal, slow=True),
    Instrument("descriptor between wordings, best of 2 x 4", PLACES_APART, descriptor_between, slow=True),
    Instrument("descriptor inside prompts, best of 2 x 4", PLACES_APART, descriptor_within, slow=True),
    Instrument(
        "selective latents, any of 64, q",
        PLACES,
        latents,
        why_conservative="Benjamini-Hochberg over latents that resemble each other, and p comes in steps",
    ),
    Instrument("latents and descriptors, any of 8 x 4, q", PLACES_APART, latent_correlates),
)
