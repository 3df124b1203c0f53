"""Affect -> score: a composer whose musical factors are known functions of valence and arousal.

The five emotions are regions of the affect plane. Valence sets mode and consonance. Arousal sets tempo,
loudness, brightness, percussion, articulation and density. Key, instrument, progression and melody are
nuisance, drawn independently of affect.

A share of pieces are factor pieces: tempo, loudness, brightness and mode are drawn independently of each
other, so that a model trained on them cannot infer one factor from another.

Times are whole codec frames (20 ms), because an onset on a frame boundary survives the codec.
"""

from dataclasses import dataclass, replace

import numpy as np

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError, must, nearest
from moodlens.prompts.factors import Factors
from moodlens.prompts.lexicon import AFFECT, INSTRUMENTS, KEYS

SPREAD_LIMIT = 2.0
"""A sampled point lies within this many spreads of its region's centre."""


@dataclass(frozen=True)
class Affect:
    """A point of the affect plane."""

    valence: float  # [-1, 1], unpleasant to pleasant
    arousal: float  # [-1, 1], quiet to excited

    def __post_init__(self) -> None:
        for name, value in (("valence", self.valence), ("arousal", self.arousal)):
            if not -1.0 <= value <= 1.0:
                raise UsageError(must(name, "lie in [-1, 1]", value, next_step="Rescale it"))


@dataclass(frozen=True)
class Region:
    """An emotion on the affect plane: a truncated Gaussian around `centre`."""

    centre: Affect
    valence_spread: float  # standard deviation before truncation
    arousal_spread: float


REGIONS = {
    emotion: Region(Affect(*AFFECT[emotion]), valence_spread=0.07, arousal_spread=0.05)
    for emotion in EMOTIONS
}


def region_of(emotion: str) -> Region:
    """Return the region of an emotion.

    Raises:
        UsageError: the name is not one of EMOTIONS.
    """
    if emotion not in REGIONS:
        advice = nearest(emotion, list(REGIONS))
        raise UsageError(must("emotion", "be one of the five emotions", emotion, next_step=advice))
    return REGIONS[emotion]


def sample_affect(rng: np.random.Generator, emotion: str) -> Affect:
    """Return a point of the emotion's region, drawn by `rng` from its truncated Gaussian."""
    region = region_of(emotion)
    z = np.clip(rng.standard_normal(2), -SPREAD_LIMIT, SPREAD_LIMIT)
    valence = region.centre.valence + region.valence_spread * z[0]
    arousal = region.centre.arousal + region.arousal_spread * z[1]
    return Affect(float(np.clip(valence, -1, 1)), float(np.clip(arousal, -1, 1)))


FRAME_RATE_HZ = 50
DURATION_S = 4.0
N_FRAMES = int(FRAME_RATE_HZ * DURATION_S)

SCALES = {True: (0, 2, 4, 5, 7, 9, 11), False: (0, 2, 3, 5, 7, 8, 10)}
"""Major and natural minor, in semitones above the tonic."""

PROGRESSIONS = ((0, 3, 0, 4), (0, 4, 0, 3), (0, 0, 3, 0), (0, 0, 4, 0))
"""Scale degrees of the chord roots. Every chord has the quality of the mode (I IV V, i iv v)."""

CHORD_GAINS = (0.26, 0.36, 0.26)
"""Root, third, fifth. The third is louder because it carries the mode."""

SLOWEST_BEAT_FRAMES, FASTEST_BEAT_FRAMES = 56.0, 16.0
STILL_BEAT_FRAMES, DRIVE_BEAT_FRAMES = 36, 20
"""A piece is slow if its beat has at least STILL frames: no subdivision, no drums. It is fast if its beat has
at most DRIVE frames: bass twice per beat, snare."""

SLOW_BEATS = (42, 46, 50, 54)
FAST_BEATS = (18, 20, 24, 26)
SOFT_RMS, LOUD_RMS = (0.050, 0.076), (0.100, 0.150)
DARK, BRIGHT = (0.14, 0.34), (0.50, 0.82)
"""Values of the two poles of each factor in factor pieces; beats in codec frames."""


@dataclass(frozen=True)
class Note:
    """One note of a score."""

    frame: int  # onset, codec frames
    n_frames: int  # length before the release, codec frames
    midi: int  # pitch
    gain: float  # linear
    brighter: float = 0.0  # added to the piece's brightness


@dataclass(frozen=True)
class Hit:
    """One stroke of a drum."""

    frame: int  # onset, codec frames
    drum: str  # kick | snare | hat
    gain: float  # linear


@dataclass(frozen=True)
class Score:
    """A piece: its realised factors, and the notes and drum strokes for the synthesiser."""

    factors: Factors
    notes: tuple[Note, ...]
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Plan:
    """The settings of a piece, from which its notes are written."""

    beat_frames: int  # codec frames, even
    rms: float  # full scale = 1
    brightness: float  # [0, 1]
    major: bool
    dissonance: float  # [0, 1], gain of the clashing notes
    percussion: float  # [0, 1], gain of the drums
    legato: float  # length of a melody note in steps
    presence: float  # [0, 1], probability that a melody step has a note


OPENING = Plan(
    beat_frames=32,
    rms=0.085,
    brightness=0.42,
    major=True,  # without a third nobody can tell
    dissonance=0.0,
    percussion=0.0,
    legato=0.7,
    presence=0.8,
)
"""The plan of every opening: in the middle between the poles of each factor."""

RELEASE_FRAMES = 4
"""Frames in which a note dies away after its length (`synth.RELEASE_S`)."""

SHORTEST_NOTE_FRAMES = 2


def compose(rng: np.random.Generator, affect: Affect, emotion: str | None = None) -> Score:
    """Return a piece with the factors of `affect`; `emotion` is recorded in its factors."""
    return _write(rng, plan_for(rng, affect), emotion, affect)


def compose_free(rng: np.random.Generator) -> Score:
    """Return a factor piece: tempo, loudness, brightness and mode are drawn independently of each other."""
    beat = int(rng.choice(SLOW_BEATS if rng.random() < 0.5 else FAST_BEATS))
    still = beat >= STILL_BEAT_FRAMES
    rms = rng.uniform(*(SOFT_RMS if rng.random() < 0.5 else LOUD_RMS))
    brightness = rng.uniform(*(DARK if rng.random() < 0.5 else BRIGHT))
    major = bool(rng.random() < 0.5)
    percussion = 0.0 if still else rng.uniform(0.2, 0.5)
    plan = Plan(
        beat_frames=beat,
        rms=float(rms),
        brightness=float(brightness),
        major=major,
        dissonance=0.0,
        percussion=float(percussion),
        legato=0.9 if still else 0.5,
        presence=float(rng.uniform(0.7, 0.95)),
    )
    return _write(rng, plan, None, None)


def compose_opening(rng: np.random.Generator, key: int, instrument: str, n_frames: int) -> Score:
    """Return `n_frames` of music in a key and on an instrument that tell nothing of any emotion.

    Tempo, loudness and brightness are in the middle. Only the tonic and its fifth sound, so there is no mode.
    Every note has died away before the opening ends.
    """
    roots = _roots(OPENING, (0,))
    fifths = {key % 12, (key + 7) % 12}
    notes = [
        replace(note, n_frames=min(note.n_frames, n_frames - RELEASE_FRAMES - note.frame))
        for note in _accompaniment(OPENING, key, roots) + _melody(rng, OPENING, key, roots)
        if note.midi % 12 in fifths and note.frame + RELEASE_FRAMES + SHORTEST_NOTE_FRAMES <= n_frames
    ]
    return Score(_factors(OPENING, key, instrument, None, None), tuple(notes), ())


def plan_for(rng: np.random.Generator, affect: Affect) -> Plan:
    """Return the plan of an affect: a continuous function of it plus scatter, so that ranges overlap.

    Mode is major with probability 1/2 + 1.25 valence (clipped). Dissonance begins below valence -0.65.
    Tempo and loudness grow exponentially with arousal, brightness linearly.
    """
    level = (affect.arousal + 1) / 2
    beat = SLOWEST_BEAT_FRAMES * (FASTEST_BEAT_FRAMES / SLOWEST_BEAT_FRAMES) ** level
    drums = np.clip((affect.arousal - 0.1) / 0.8, 0, 1)
    return Plan(
        beat_frames=2 * round(beat / 2),
        rms=float(0.050 * (0.145 / 0.050) ** level * np.exp(rng.uniform(-0.2, 0.2))),
        brightness=float(np.clip(0.12 + 0.66 * level + rng.uniform(-0.06, 0.06), 0, 1)),
        major=bool(rng.random() < np.clip(0.5 + 1.25 * affect.valence, 0, 1)),
        dissonance=float(np.clip((-0.65 - affect.valence) / 0.3, 0, 1)),
        percussion=float(drums),
        legato=float(0.95 - 0.5 * level),
        presence=float(0.6 + 0.35 * level),
    )


def _write(rng: np.random.Generator, plan: Plan, emotion: str | None, affect: Affect | None) -> Score:
    """Draw the nuisance and write the notes; without an affect the piece is a factor piece."""
    key = int(rng.choice(list(KEYS)))
    instrument = str(rng.choice(INSTRUMENTS))
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    factors = _factors(plan, key, instrument, emotion, affect)
    roots = _roots(plan, progression)
    notes = _accompaniment(plan, key, roots) + _melody(rng, plan, key, roots)
    inside = tuple(note for note in notes if note.frame < N_FRAMES)
    return Score(factors, inside, tuple(hit for hit in _drums(plan) if hit.frame < N_FRAMES))


def _factors(plan: Plan, key: int, instrument: str, emotion: str | None, affect: Affect | None) -> Factors:
    return Factors(
        emotion=emotion,
        valence=affect.valence if affect else None,
        arousal=affect.arousal if affect else None,
        bpm=60 * FRAME_RATE_HZ / plan.beat_frames,
        rms=plan.rms,
        brightness=plan.brightness,
        major=plan.major,
        key=key,
        instrument=instrument,
        free=affect is None,
    )


def _roots(plan: Plan, progression: tuple[int, ...]) -> list[int]:
    """Return the scale degree of the chord on every beat that begins inside the clip."""
    n_beats = -(-N_FRAMES // plan.beat_frames)
    beats_per_chord = 2 if plan.beat_frames >= STILL_BEAT_FRAMES else 4
    return [progression[beat // beats_per_chord % len(progression)] for beat in range(n_beats)]


def _pitch(major: bool, degree: int) -> int:
    return SCALES[major][degree % 7] + 12 * (degree // 7)


def _triad(plan: Plan, key: int, root: int) -> list[int]:
    tonic = 54 + (key + 6) % 12
    tones = [tonic + _pitch(plan.major, root + third) for third in (0, 2, 4)]
    return [tone - 12 if tone > tonic + 9 else tone for tone in tones]


def _accompaniment(plan: Plan, key: int, roots: list[int]) -> list[Note]:
    """Return bass and chords, in one of three patterns by the length of a beat.

    Slow: bass on each beat, a chord on every other. Medium: bass on the beat, chord off the beat. Fast: bass
    twice per beat, chord on the beat.
    """
    beat, half = plan.beat_frames, plan.beat_frames // 2
    low = (48 if key < 8 else 36) + key
    notes = []
    for index, root in enumerate(roots):
        at = index * beat
        bass = low + _pitch(plan.major, root)
        chord = list(zip(_triad(plan, key, root), CHORD_GAINS, strict=True))
        if plan.dissonance > 0:
            chord.append((chord[0][0] + 1, CHORD_GAINS[0] * plan.dissonance))
        if beat >= STILL_BEAT_FRAMES:
            notes.append(Note(at, round(0.9 * beat), bass, 0.35))
            if index % 2 == 0:
                notes += [Note(at, round(1.8 * beat), tone, gain) for tone, gain in chord]
        elif beat > DRIVE_BEAT_FRAMES:
            notes.append(Note(at, round(0.6 * beat), bass, 0.42))
            notes += [Note(at + half, round(0.35 * beat), tone, gain) for tone, gain in chord]
        else:
            notes += [Note(at + part, round(0.6 * half), bass, 0.42) for part in (0, half)]
            notes += [Note(at, round(0.35 * beat), tone, gain) for tone, gain in chord]
    return notes


def _melody(rng: np.random.Generator, plan: Plan, key: int, roots: list[int]) -> list[Note]:
    """Return one voice around a register: chord tones on the beat, at times a scale tone off the beat."""
    still = plan.beat_frames >= STILL_BEAT_FRAMES
    per_beat = 1 if still else 2
    step = plan.beat_frames // per_beat
    register = 60 + 16 * plan.brightness + rng.uniform(-2, 2)
    scale = {(key + tone) % 12 for tone in SCALES[plan.major]}
    around, notes = register, []
    for index in range(len(roots) * per_beat):
        on_beat = index % per_beat == 0
        if index > 0 and rng.random() > plan.presence * (1.0 if on_beat else 0.8):
            continue
        root = roots[index // per_beat]
        tones = {(key + _pitch(plan.major, root + third)) % 12 for third in (0, 2, 4)}
        allowed = tones if on_beat or rng.random() < 0.6 else scale
        pitches = [midi for midi in range(round(register) - 8, round(register) + 9) if midi % 12 in allowed]
        weights = np.exp(-0.5 * ((np.array(pitches) - (0.6 * around + 0.4 * register)) / 3.5) ** 2)
        around = pitches[rng.choice(len(pitches), p=weights / weights.sum())]
        held = 1.6 if still and rng.random() < 0.4 else 1.0
        notes.append(Note(index * step, max(2, round(step * plan.legato * held)), around, 0.5, 0.08))
    return notes


def _drums(plan: Plan) -> list[Hit]:
    """Return kicks on the beat, snares on every other beat of a fast piece, hats on half beats."""
    if plan.percussion <= 0 or plan.beat_frames >= STILL_BEAT_FRAMES:
        return []
    drive = plan.beat_frames <= DRIVE_BEAT_FRAMES
    half = plan.beat_frames // 2
    sheen = min(1.0, 1.6 * plan.brightness**1.2)
    hits = []
    for index in range(-(-N_FRAMES // half)):
        at = index * half
        if index % 2 == 0:
            hits.append(Hit(at, "kick", plan.percussion * (1.0 if drive else 0.6)))
        if drive and index % 4 == 2:
            hits.append(Hit(at, "snare", plan.percussion * 0.8 * sheen))
        hits.append(Hit(at, "hat", plan.percussion * sheen * (0.7 if index % 2 else 0.4)))
    return hits
