"""The judge against scikit-learn's own log-odds; its file and its errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from moodlens.audio.classifier import inputs_of
from moodlens.audio.descriptors import Descriptors, describe
from moodlens.audio.judge import (
    INVERSE_PENALTY,
    Judge,
    fit_judge,
    last_seconds,
    measured,
    pair_name,
)
from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import ContractError
from moodlens.store.judge_file import read_judge, write_judge


def clips(emotions: tuple[str, ...], n: int, seed: int) -> tuple[list[Descriptors], list[str]]:
    """n clips per emotion; tempo, level and mode margin shift from emotion to emotion."""
    rng = np.random.default_rng(seed)
    found, names = [], []
    for number, emotion in enumerate(emotions):
        for _ in range(n):
            tempo, onsets, centroid, level, margin = rng.normal((number, 0, 0, -number, number % 2))
            found.append(
                Descriptors(
                    tempo_bpm=100 * 2 ** (tempo / 10),
                    onset_rate_hz=3 + 0.2 * onsets,
                    pulse_clarity=0.5,
                    loudness_db=-20 + level,
                    dynamic_range_db=6.0,
                    low_energy_fraction=0.3,
                    centroid_hz=1000 + 50 * centroid,
                    rolloff_hz=1500.0,
                    flatness=0.1,
                    zero_crossing_rate_hz=500.0,
                    mode_margin=0.1 * margin,
                )
            )
            names.append(emotion)
    return found, names


def reference(descriptors: list[Descriptors], names: list[str]) -> Pipeline:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=2000))
    return model.fit(inputs_of(descriptors), np.array(names))


@pytest.fixture(scope="module")
def judge() -> Judge:
    return fit_judge(*clips(EMOTIONS, 30, seed=1), window_s=1.7)


def test_log_odds_of_five_emotions_are_those_of_scikit_learn(judge: Judge):
    fitted, others = reference(*clips(EMOTIONS, 30, seed=1)), clips(EMOTIONS, 8, seed=2)[0]
    log_p = np.log(fitted.predict_proba(inputs_of(others)))
    for one in EMOTIONS:
        for other in EMOTIONS:
            columns = [list(fitted.classes_).index(name) for name in (one, other)]
            expected = log_p[:, columns[0]] - log_p[:, columns[1]]
            assert judge.log_odds(others, one, other) == pytest.approx(expected, abs=1e-6)
    assert judge.predict(others) == list(fitted.predict(inputs_of(others)))


def test_log_odds_of_two_emotions_are_scikit_learns_decision_function():
    two, others = clips(("sad", "happy"), 30, seed=3), clips(("sad", "happy"), 20, seed=4)[0]
    judge, fitted = fit_judge(*two, window_s=1.0), reference(*two)
    expected = fitted.decision_function(inputs_of(others))
    assert list(fitted.classes_) == ["happy", "sad"]
    assert judge.log_odds(others, "sad", "happy") == pytest.approx(expected, abs=1e-9)
    assert judge.log_odds(others, "happy", "sad") == pytest.approx(-expected, abs=1e-9)
    assert judge.predict(others) == list(fitted.predict(inputs_of(others)))


def test_accuracy_and_gaps_are_those_of_other_clips(judge: Judge):
    descriptors, names = clips(EMOTIONS, 10, seed=5)
    assert np.isnan(judge.accuracy)
    assert judge.gaps == {}
    told = measured(judge, descriptors, names)
    assert told.accuracy == np.mean([a == b for a, b in zip(judge.predict(descriptors), names, strict=True)])
    assert 0.3 < told.accuracy < 1.0
    assert len(told.gaps) == 20
    odds, of = judge.log_odds(descriptors, "happy", "sad"), np.array(names)
    gap = odds[of == "happy"].mean() - odds[of == "sad"].mean()
    assert told.gaps[pair_name("happy", "sad")] == pytest.approx(gap)
    assert told.gaps["happy - sad"] == pytest.approx(told.gaps["sad - happy"])
    assert replace(told, accuracy=0.0, gaps={}) == replace(judge, accuracy=0.0), "the fit is unchanged"


def test_the_file_keeps_a_judge_to_six_digits(judge: Judge, tmp_path: Path):
    descriptors, names = clips(EMOTIONS, 10, seed=5)
    told = measured(judge, descriptors, names)
    write_judge(told, tmp_path / "judge.json")
    again = read_judge(tmp_path / "judge.json")
    assert (again.window_s, again.emotions, again.n_clips) == (1.7, tuple(sorted(EMOTIONS)), 150)
    assert again.gaps == pytest.approx(told.gaps, rel=1e-5)
    assert again.accuracy == pytest.approx(told.accuracy, rel=1e-5)
    assert again.logits(descriptors) == pytest.approx(told.logits(descriptors), abs=1e-3)
    write_judge(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "judge.json").read_bytes()


def test_an_unknown_emotion_is_one_clear_line(judge: Judge):
    with pytest.raises(ContractError) as caught:
        judge.log_odds(clips(EMOTIONS, 1, seed=1)[0], "happy", "bored")
    assert str(caught.value) == (
        "the judge must know the emotion; got 'bored'. It knows angry, calm, energetic, happy, sad."
    )


def damaged(text: str, damage: str) -> str:
    whole = json.loads(text)
    if damage == "truncated":
        return text[: len(text) // 2]
    if damage == "a list":
        return json.dumps([whole])
    if damage == "other inputs":
        return json.dumps({**whole, "centre": whole["centre"][:4]})
    if damage == "missing part":
        del whole["scale"]
        return json.dumps(whole)
    return json.dumps({**whole, "colour": 1})


@pytest.mark.parametrize("damage", ["truncated", "a list", "other inputs", "missing part", "unknown part"])
def test_a_damaged_file_is_one_clear_line(judge: Judge, damage: str, tmp_path: Path):
    path = tmp_path / "judge.json"
    write_judge(judge, path)
    path.write_text(damaged(path.read_text(), damage))
    with pytest.raises(ContractError, match=r"judge\.json must be a judge; got .*git checkout") as caught:
        read_judge(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_one_clear_line(tmp_path: Path):
    with pytest.raises(ContractError, match=r"none\.json must be a judge; got .*git checkout"):
        read_judge(tmp_path / "none.json")


def test_it_hears_the_last_seconds_only():
    tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    heard = last_seconds(np.stack([np.concatenate([noise, tone])]), 16_000, 0.5)
    assert heard == [describe(tone[-8000:], 16_000)]
