"""Conversions between seconds, codec frames and decoder steps; numbers at a count of significant digits.

Units are suffixes of names: `_s _hz _db _bpm _steps _frames`.
"""

from collections.abc import Sequence


def frames_for(duration_s: float, frame_rate_hz: float) -> int:
    """Return the number of codec frames of `duration_s` seconds, rounded.

    >>> frames_for(4.0, 50)
    200
    """
    return round(duration_s * frame_rate_hz)


def steps_within(
    windows_s: Sequence[tuple[float, float]], frame_rate_hz: float
) -> tuple[tuple[int, int], ...]:
    """Return windows of time as decoder steps, (first step, step after the last).

    Step t outputs frame t of the first codebook, so it stands for second t / frame_rate_hz.

    >>> steps_within([(0.0, 0.5), (3.0, 4.0)], 50)
    ((0, 25), (150, 200))
    """
    return tuple((round(start * frame_rate_hz), round(stop * frame_rate_hz)) for start, stop in windows_s)


def steps_for(n_frames: int, n_delays: int) -> int:
    """Return the decoder steps of `n_frames` frames under the delay pattern 0 .. n_delays - 1.

    >>> steps_for(500, 4)
    503
    """
    return n_frames + n_delays - 1


def beyond_training(clip_s: float, trained_s: float | None) -> str:
    """Return what is to be said of clips longer than those a model was trained on; "" of others.

    Args:
        clip_s: seconds of a clip.
        trained_s: seconds of the clips of the training, None where they are not known.

    >>> beyond_training(40, 30.0)[:66]
    'clips of 40 s are longer than the 30 s this model was trained on: '
    >>> beyond_training(30, 30.0), beyond_training(40, None)
    ('', '')
    """
    if trained_s is None or clip_s <= trained_s:
        return ""
    return (
        f"clips of {clip_s:g} s are longer than the {trained_s:g} s this model was trained on: "
        "what it plays beyond is outside its training"
    )


def at_digits(value: float, n_digits: int) -> float:
    """Return `value` rounded to `n_digits` significant digits.

    >>> at_digits(0.123456, 4), at_digits(123456.0, 4)
    (0.1235, 123500.0)
    """
    return float(f"{value:.{n_digits}g}")
