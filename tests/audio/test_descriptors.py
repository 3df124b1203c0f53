"""Descriptors against sounds whose rhythm, level, spectrum and mode are planted."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodlens.audio.descriptors import MAJOR_PROFILE, MINOR_PROFILE, describe, mode_margin, without_partials
from moodlens.base.errors import ContractError

RATES_HZ = (16_000, 32_000)


def sine(
    frequency_hz: float, sample_rate_hz: int, duration_s: float = 4.0, amplitude: float = 0.5
) -> np.ndarray:
    t = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def struck(midi: list[list[int]], step_s: float, sample_rate_hz: int, n_partials: int = 4) -> np.ndarray:
    """Chords of decaying notes, one every step_s."""
    t = np.arange(round(step_s * sample_rate_hz)) / sample_rate_hz
    chords = []
    for chord in midi:
        wave = sum(
            np.sin(2 * np.pi * partial * 440 * 2 ** ((note - 69) / 12) * t) / partial
            for note in chord
            for partial in range(1, n_partials + 1)
        )
        chords.append(wave * np.exp(-5 * t))
    return (0.1 * np.concatenate(chords)).astype(np.float32)


def cadence(tonic: int, third: int) -> list[list[int]]:
    """I IV V I, every chord with the third of the mode (4: major, 3: minor)."""
    return [[root, root + third, root + 7] for root in (tonic, tonic + 5, tonic + 7, tonic)]


@pytest.mark.parametrize("sample_rate_hz", RATES_HZ)
@pytest.mark.parametrize("bpm", [60, 75, 100, 125, 150, 187.5])
def test_click_track_gives_its_tempo_and_onset_rate(bpm: float, sample_rate_hz: int) -> None:
    n_clicks = int(10 * bpm / 60)
    clicks = struck([[60]] * n_clicks, 60 / bpm, sample_rate_hz)
    descriptors = describe(clicks, sample_rate_hz)
    assert descriptors.tempo_bpm == pytest.approx(bpm, rel=0.03)
    assert descriptors.onset_rate_hz == pytest.approx(bpm / 60, rel=0.02)
    assert descriptors.pulse_clarity > 0.5


@pytest.mark.parametrize("bpm", [60, 80, 100, 120, 160])
@pytest.mark.parametrize("offbeat", [0.7, 0.8, 0.9, 1.0])
def test_strong_offbeats_leave_both_readings_of_the_tempo(bpm: float, offbeat: float) -> None:
    """60 with off-beats came out as 120 and 160 as 80, with nothing that said so."""
    pulses = [amplitude * struck([[60]], 30 / bpm, 16_000) for amplitude in (1.0, offbeat)]
    found = describe(np.concatenate(pulses * int(10 * bpm / 60)), 16_000)
    readings = (found.tempo_bpm, found.tempo_other_bpm)
    assert min(abs(reading / bpm - 1) for reading in readings) < 0.03
    assert max(readings) / min(readings) >= 1.4


@pytest.mark.parametrize("bpm", [60, 80, 95])
def test_a_rhythm_without_offbeats_has_one_reading(bpm: float) -> None:
    found = describe(struck([[60]] * int(10 * bpm / 60), 60 / bpm, 16_000), 16_000)
    assert np.isnan(found.tempo_other_bpm)


@pytest.mark.parametrize("bpm", [50, 75, 120, 200])
@pytest.mark.parametrize(("n_beats", "measured"), [(1.0, False), (1.5, False), (2.5, True), (8.0, True)])
def test_below_about_two_beats_tempo_is_not_measured(bpm: float, n_beats: float, measured: bool) -> None:
    clicks = struck([[60]] * 9, 60 / bpm, 16_000)[: round(n_beats * 60 / bpm * 16_000)]
    tempo = describe(clicks, 16_000).tempo_bpm
    assert tempo == pytest.approx(bpm, rel=0.05) if measured else np.isnan(tempo)


@pytest.mark.parametrize("sound", ["silence", "steady tone", "noise of half a second"])
def test_without_a_pulse_tempo_is_not_measured(sound: str) -> None:
    rng = np.random.default_rng(0)
    waveforms = {
        "silence": np.zeros(64_000, np.float32),
        "steady tone": sine(440, 16_000, 0.5),
        "noise of half a second": rng.standard_normal(8_000).astype(np.float32) * 0.1,
    }
    found = describe(waveforms[sound], 16_000)
    assert np.isnan(found.tempo_bpm)
    assert np.isnan(found.tempo_other_bpm)


@pytest.mark.parametrize("sample_rate_hz", RATES_HZ)
@pytest.mark.parametrize("tonic", range(55, 67))
def test_cadences_state_their_mode_in_every_key(tonic: int, sample_rate_hz: int) -> None:
    major, minor = (struck(cadence(tonic, third), 1.0, sample_rate_hz) for third in (4, 3))
    assert describe(major, sample_rate_hz).mode_margin > 0.05
    assert describe(minor, sample_rate_hz).mode_margin < -0.05


@pytest.mark.parametrize("sample_rate_hz", [8_000, 16_000, 22_050, 32_000, 48_000])
def test_sine_gives_its_frequency_and_level(sample_rate_hz: int) -> None:
    descriptors = describe(sine(1000.0, sample_rate_hz), sample_rate_hz)
    assert descriptors.loudness_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert descriptors.zero_crossing_rate_hz == pytest.approx(2000, rel=0.01)
    assert descriptors.centroid_hz == pytest.approx(1000, rel=0.05)
    assert descriptors.rolloff_hz == pytest.approx(1000, rel=0.05)
    assert descriptors.flatness < 0.01
    assert descriptors.dynamic_range_db < 0.5


def test_white_noise_has_the_flatness_of_a_periodogram() -> None:
    noise = np.random.default_rng(0).standard_normal(64_000).astype(np.float32) * 0.1
    # the power of a bin is exponential: geometric over arithmetic mean is exp(-Euler's gamma)
    assert describe(noise, 16_000).flatness == pytest.approx(np.exp(-np.euler_gamma), abs=0.02)


def test_halves_of_sound_and_silence_show_in_low_energy_and_range() -> None:
    tone = sine(440, 16_000)
    tone[: len(tone) // 4] = 0
    descriptors = describe(tone, 16_000)
    assert descriptors.low_energy_fraction == pytest.approx(0.25, abs=0.02)
    assert descriptors.dynamic_range_db > 60


def test_gain_moves_loudness_alone() -> None:
    song = struck(cadence(60, 4) * 2, 0.5, 16_000)
    loud, soft = describe(song, 16_000), describe(song * 0.5, 16_000)
    assert loud.loudness_db - soft.loudness_db == pytest.approx(20 * np.log10(2), abs=1e-4)
    for name in ("tempo_bpm", "onset_rate_hz", "centroid_hz", "low_energy_fraction", "zero_crossing_rate_hz"):
        assert getattr(loud, name) == pytest.approx(getattr(soft, name), rel=1e-3), name
    assert loud.mode_margin == pytest.approx(soft.mode_margin, abs=0.01)


def test_sample_rate_does_not_change_the_descriptors() -> None:
    low, high = (describe(struck(cadence(62, 3) * 2, 0.48, rate), rate) for rate in RATES_HZ)
    assert low.tempo_bpm == pytest.approx(high.tempo_bpm, rel=0.02)
    assert low.onset_rate_hz == high.onset_rate_hz
    assert low.centroid_hz == pytest.approx(high.centroid_hz, rel=0.1)
    assert low.mode_margin == pytest.approx(high.mode_margin, abs=0.03)


@given(
    n=st.sampled_from([1, 7, 300, 5_000, 40_000]),
    sample_rate_hz=st.sampled_from([8_000, 16_000, 32_000, 44_100]),
    kind=st.sampled_from(["silence", "constant", "noise", "click"]),
)
@settings(max_examples=30, deadline=None)
def test_every_field_but_a_tempo_is_finite(n: int, sample_rate_hz: int, kind: str) -> None:
    sounds = {
        "silence": np.zeros(n),
        "constant": np.ones(n),
        "noise": np.random.default_rng(n).uniform(-1, 1, n),
        "click": np.eye(1, n, n // 2)[0],
    }
    descriptors = dataclasses.asdict(describe(sounds[kind].astype(np.float32), sample_rate_hz))
    assert np.isfinite([value for name, value in descriptors.items() if not name.startswith("tempo")]).all()


def test_silence_has_no_onset_and_no_mode() -> None:
    descriptors = describe(np.zeros(64_000, np.float32), 16_000)
    assert (descriptors.onset_rate_hz, descriptors.mode_margin, descriptors.loudness_db) == (0.0, 0.0, -100.0)


def test_bad_waveforms_are_refused_with_the_sample() -> None:
    with pytest.raises(ContractError, match="must hold samples"):
        describe(np.zeros(0, np.float32), 16_000)
    broken = np.zeros(100, np.float32)
    broken[17] = np.nan
    with pytest.raises(ContractError, match="nan at sample 17"):
        describe(broken, 16_000)


def test_profiles_themselves_are_major_and_minor() -> None:
    best_minor = max(np.corrcoef(MAJOR_PROFILE, np.roll(MINOR_PROFILE, k))[0, 1] for k in range(12))
    assert mode_margin(MAJOR_PROFILE) == pytest.approx(1 - best_minor)
    assert mode_margin(MINOR_PROFILE) < 0


@given(weights=st.lists(st.floats(0.01, 10), min_size=12, max_size=12), turn=st.integers(0, 11))
@settings(max_examples=50, deadline=None)
def test_transposition_keeps_the_margin(weights: list[float], turn: int) -> None:
    turned = np.roll(np.array(weights), turn)
    assert mode_margin(turned) == pytest.approx(mode_margin(np.array(weights)), abs=1e-6)


def test_partials_of_one_tone_are_subtracted() -> None:
    weights_of_c = np.zeros(12)
    weights_of_c[[0, 7, 4]] = 1.0, 0.2, 0.1  # a lone c: its partials 3 and 5 sound as g and e
    # what g and e themselves would add is negative and cut off, so only c is left of the three
    assert without_partials(weights_of_c)[[0, 4, 7]] == pytest.approx([1, 0, 0], abs=0.06)
