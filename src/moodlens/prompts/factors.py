"""The musical factors of a piece, and the factor words that are true of it."""

from dataclasses import dataclass

SLOW_FAST_BPM = 90.0
SOFT_LOUD_RMS = 0.088
DARK_BRIGHT = 0.42
"""Boundaries between the two words of each factor; the composer's factor pieces stay away from them."""


@dataclass(frozen=True)
class Factors:
    """The realised factors of one piece; a factor piece (`free`) has no emotion, valence or arousal."""

    emotion: str | None  # one of EMOTIONS
    valence: float | None  # [-1, 1]
    arousal: float | None  # [-1, 1]
    bpm: float  # beats per minute
    rms: float  # root mean square of the waveform, full scale = 1
    brightness: float  # [0, 1]; the higher, the slower the partials of a note fall off
    major: bool  # mode
    key: int  # pitch class of the tonic, 0 = c
    instrument: str  # one of INSTRUMENTS
    free: bool  # loudness, brightness, mode and tempo drawn independently of emotion


@dataclass(frozen=True)
class Poles:
    """One pole of each factor, by name."""

    tempo: str  # slow | fast
    loudness: str  # soft | loud
    brightness: str  # dark | bright
    mode: str  # major | minor

    @property
    def wording(self) -> str:
        """The four names in the order tempo, loudness, brightness, mode."""
        return f"{self.tempo} {self.loudness} {self.brightness} {self.mode}"


def poles_of(factors: Factors) -> Poles:
    """Return the factor words that are true of a piece.

    >>> poles_of(Factors(None, None, None, 60.0, 0.14, 0.7, False, 0, "piano", True)).wording
    'slow loud bright minor'
    """
    return Poles(
        tempo="fast" if factors.bpm > SLOW_FAST_BPM else "slow",
        loudness="loud" if factors.rms > SOFT_LOUD_RMS else "soft",
        brightness="bright" if factors.brightness > DARK_BRIGHT else "dark",
        mode="major" if factors.major else "minor",
    )


def poles_from(wording: str) -> Poles:
    """Return the poles of a `Poles.wording`.

    >>> poles_from("fast soft dark major").loudness
    'soft'
    """
    tempo, loudness, brightness, mode = wording.split()
    return Poles(tempo, loudness, brightness, mode)
