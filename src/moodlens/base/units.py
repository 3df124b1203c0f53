"""Units are suffixes of names (`_s _hz _db _bpm _steps _frames`); the conversions live here."""


def frames_for(duration_s: float, frame_rate_hz: float) -> int:
    """Return the number of codec frames that cover `duration_s` seconds.

    >>> frames_for(4.0, 50)
    200
    """
    return round(duration_s * frame_rate_hz)


def steps_for(n_frames: int, n_delays: int) -> int:
    """Return the decoder steps that n_frames need under the delay pattern 0..n_delays-1.

    >>> steps_for(500, 4)
    503
    """
    return n_frames + n_delays - 1
