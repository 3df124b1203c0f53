"""The composer: what affect decides, what it must not decide, and what lies on the frame grid."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError
from moodlens.base.seeding import rng_for
from moodlens.organism.composer import (
    N_FRAMES,
    Affect,
    Score,
    compose,
    compose_free,
    plan_for,
    region_of,
    sample_affect,
)
from moodlens.prompts.factors import poles_of
from moodlens.prompts.lexicon import INSTRUMENTS, KEYS

PLANE = st.builds(Affect, st.floats(-1, 1), st.floats(-1, 1))
INDEPENDENT = 0.001  # smallest p at which a seeded independence test still passes


def independence_p(rows: Sequence[object], columns: Sequence[object]) -> float:
    table = np.zeros((len(set(rows)), len(set(columns))))
    row_of, column_of = ({v: i for i, v in enumerate(sorted(set(x), key=str))} for x in (rows, columns))
    for row, column in zip(rows, columns, strict=True):
        table[row_of[row], column_of[column]] += 1
    return float(chi2_contingency(table).pvalue)


def clashes(score: Score) -> bool:
    """Whether two notes of one chord (equal onset and length) are a semitone apart."""
    chords: dict[tuple[int, int], set[int]] = {}
    for note in score.notes:
        chords.setdefault((note.frame, note.n_frames), set()).add(note.midi)
    return any(midi + 1 in chord for chord in chords.values() for midi in chord)


@given(affect=PLANE, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_piece_lies_on_the_frame_grid_inside_the_clip(affect: Affect, seed: int) -> None:
    score = compose(rng_for(seed), affect)
    beat = 3000 / score.factors.bpm
    assert beat == pytest.approx(round(beat), abs=1e-6)
    assert round(beat) % 2 == 0
    assert score.factors.key in KEYS
    assert score.factors.instrument in INSTRUMENTS
    for note in score.notes:
        assert 0 <= note.frame < N_FRAMES
        assert note.n_frames > 0
        assert 24 <= note.midi <= 96
        assert note.gain > 0
    assert all(0 <= hit.frame < N_FRAMES and hit.gain > 0 for hit in score.hits)


@given(valence=st.floats(-1, 1), low=st.floats(-1, 1), high=st.floats(-1, 1), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_arousal_quickens_brightens_and_raises(valence: float, low: float, high: float, seed: int) -> None:
    low, high = sorted((low, high))
    calmer, livelier = (plan_for(rng_for(seed), Affect(valence, arousal)) for arousal in (low, high))
    assert calmer.beat_frames >= livelier.beat_frames
    assert calmer.rms <= livelier.rms
    assert calmer.brightness <= livelier.brightness
    assert calmer.percussion <= livelier.percussion
    assert calmer.legato >= livelier.legato
    assert calmer.major == livelier.major


@given(arousal=st.floats(-1, 1), seed=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_clear_valence_fixes_the_mode(arousal: float, seed: int) -> None:
    assert plan_for(rng_for(seed), Affect(0.45, arousal)).major
    assert not plan_for(rng_for(seed), Affect(-0.45, arousal)).major


def test_neutral_valence_leaves_the_mode_open() -> None:
    modes = [plan_for(rng_for(seed), Affect(0.0, 0.0)).major for seed in range(400)]
    assert 0.42 < np.mean(modes) < 0.58  # binomial, three standard errors


def test_only_very_negative_valence_is_dissonant() -> None:
    assert clashes(compose(rng_for(1), Affect(-0.95, 0.8)))
    assert not any(clashes(compose(rng_for(seed), Affect(-0.6, -0.5))) for seed in range(30))
    assert not any(clashes(compose(rng_for(seed), Affect(0.5, 0.9))) for seed in range(30))


def test_nuisance_is_independent_of_emotion() -> None:
    emotions = [EMOTIONS[index % 5] for index in range(1500)]
    scores = []
    for index, emotion in enumerate(emotions):
        rng = rng_for("independence", index)
        scores.append(compose(rng, sample_affect(rng, emotion), emotion))
    assert independence_p(emotions, [score.factors.key for score in scores]) > INDEPENDENT
    assert independence_p(emotions, [score.factors.instrument for score in scores]) > INDEPENDENT
    keys = [score.factors.key for score in scores]
    assert independence_p(keys, [score.factors.instrument for score in scores]) > INDEPENDENT


def test_factor_pieces_draw_their_factors_independently_and_clearly() -> None:
    poles = [poles_of(compose_free(rng_for("free", index)).factors) for index in range(1500)]
    columns = [
        [getattr(pole, name) for pole in poles] for name in ("tempo", "loudness", "brightness", "mode")
    ]
    for index, column in enumerate(columns):
        assert 0.4 < np.mean([value == column[0] for value in column]) < 0.6
        for other in columns[index + 1 :]:
            assert independence_p(column, other) > INDEPENDENT


def test_a_factor_piece_has_no_emotion() -> None:
    factors = compose_free(rng_for(3)).factors
    assert (factors.emotion, factors.valence, factors.arousal, factors.free) == (None, None, None, True)


def test_the_draw_decides_the_piece() -> None:
    affect = Affect(0.3, 0.2)
    assert compose(rng_for(5), affect) == compose(rng_for(5), affect) != compose(rng_for(6), affect)


@given(emotion=st.sampled_from(EMOTIONS), seed=st.integers(0, 500))
@settings(max_examples=60, deadline=None)
def test_points_stay_in_their_region(emotion: str, seed: int) -> None:
    point, region = sample_affect(rng_for(seed), emotion), region_of(emotion)
    assert abs(point.valence - region.centre.valence) <= 2 * region.valence_spread + 1e-9
    assert abs(point.arousal - region.centre.arousal) <= 2 * region.arousal_spread + 1e-9


def test_unknown_emotions_and_points_off_the_plane_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'happy'"):
        region_of("hapy")
    with pytest.raises(UsageError, match=r"valence must lie in \[-1, 1\]; got 1.5"):
        Affect(1.5, 0.0)
