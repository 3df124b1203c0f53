"""Findings on designs with a planted fault: each is named, and fails closed where no robust form is left."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.stats.design import Design, design_of
from moodlens.stats.design_check import check_design, holm, identified
from moodlens.stats.strata import Strata, strata_of
from tests.stats.synthetic import design


def checked(made: Design, nuisances: dict[str, list[str]], **changed):
    strata = strata_of(made.labels, made.wordings, nuisances)
    given = {"p_dispersion": {"layers": 0.4}, "unknown_share": 0.0, "alpha": 0.05, "seed": 0}
    words = np.zeros((made.n_prompts, 1))
    made = replace(made, strata=strata.codes)
    found = check_design(made, strata, nuisances, **({"words": words} | given | changed))
    return found, {finding.name: finding for finding in found.findings}


def crossed(n: int = 12) -> tuple[Design, dict[str, list[str]]]:
    made = design(n, n, n, n, per_wording=2)
    return made, {"template": [str(i % n // 2 % 3) for i in range(4 * n)], "key": ["c"] * (4 * n)}


def test_a_crossed_design_holds_in_every_respect():
    found, by_name = checked(*crossed())
    assert (found.undecided, found.robust) == ((), ())
    assert by_name["group_sizes"].sentence == "Every emotion has 6 wordings."
    assert by_name["template"].form == by_name["key"].form == by_name["dispersion"].form == "holds"
    assert by_name["unknown_tokens"].form == by_name["recurring_words"].form == "described"
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in found.sentences)


def test_unequal_groups_take_the_robust_form_and_slightly_unequal_ones_do_not():
    found, by_name = checked(design(8, 8, 14), {})
    assert by_name["group_sizes"].form == "robust"
    assert "8 to 14 wordings (ratio 1.75): W_d* is used" in by_name["group_sizes"].sentence
    assert by_name["group_sizes"].sentence in found.robust
    assert checked(design(8, 8, 12), {})[1]["group_sizes"].form == "holds"


def uneven(sizes: tuple[tuple[int, ...], ...]) -> Design:
    rows = [(e, w) for e, each in enumerate(sizes) for w, n in enumerate(each) for _ in range(n)]
    names = ("happy", "sad", "calm")
    return design_of(
        [str(i) for i in range(len(rows))], [names[e] for e, _ in rows], [f"{e}.{w}" for e, w in rows]
    )


def test_wording_sizes_that_differ_are_relabelled_within_sizes_or_not_at_all():
    mixed = uneven(((1,) * 6 + (2,) * 3 + (5,), (1,) * 6 + (2,) * 4))
    _, by_name = checked(mixed, {})
    finding = by_name["wording_sizes"]
    assert finding.form == "robust"
    assert "1 of 20 wordings have no partner" in finding.sentence
    assert finding.value == pytest.approx(1 / 20)
    apart = uneven(((1,) * 8, (2,) * 8))
    found, by_name = checked(apart, {})
    assert by_name["wording_sizes"].form == "undecided"
    assert found.undecided == (by_name["wording_sizes"].sentence,)
    assert "leave a smallest p of 1, not below 0.05" in found.undecided[0]


def test_an_instrument_that_goes_with_emotion_is_held_fixed_where_it_can_be():
    made = design(16, 16, 16)
    some = ["piano" if i % 16 < (13, 8, 3)[i // 16] else "flute" for i in range(48)]
    found, by_name = checked(made, {"instrument": some})
    assert by_name["instrument"].form == "robust"
    assert by_name["instrument"].p < 0.01
    assert not found.undecided
    always = [("piano", "flute", "organ")[i // 16] for i in range(48)]
    found, by_name = checked(made, {"instrument": always, "key": [str(i % 2) for i in range(48)]})
    assert by_name["instrument"].form == "undecided"
    assert by_name["key"].form == "holds"
    (reason,) = found.undecided
    assert reason.startswith("Instrument predicts the emotion above chance (p = 0.001)")


def test_a_nuisance_drawn_at_random_is_rarely_called_a_predictor():
    made, calls, n_sims = design(10, 10, 10, per_wording=2), 0, 120
    for seed in range(n_sims):
        rng = np.random.default_rng(seed)
        drawn = {
            name: rng.integers(0, 3, 15)[made.wordings].astype(str).tolist()
            for name in ("set", "genre", "key", "template", "room", "day")
        }
        free = Strata(np.zeros(30, dtype=int), (), tuple(drawn))
        found = check_design(made, free, drawn, np.zeros((30, 1)), {}, None, 0.05, seed)
        calls += bool(found.undecided)
    assert calls <= binom.ppf(0.999, n_sims, 0.05)


def test_a_spread_that_differs_is_named_by_family():
    _, by_name = checked(*crossed(), p_dispersion={"layers": 0.01, "text": 0.3})
    assert by_name["dispersion"].form == "robust"
    assert "at some site of layers (" in by_name["dispersion"].sentence
    assert by_name["dispersion"].p == 0.01


def test_recurring_words_tell_the_emotion_no_better_than_random_labels_of_the_wordings():
    """Every wording has a word of its own and stands in three prompts: any deal of labels is identified."""
    made = design(12, 12, 12, per_wording=3)
    own = np.eye(12)[made.wordings]
    (_, by_name) = checked(made, {}, words=own)
    finding = by_name["recurring_words"]
    assert finding.value == 1
    assert finding.p == 1
    assert "identify the emotion of 100%" in finding.sentence
    assert "identify the label of 100%" in finding.sentence
    telling = np.hstack([own, np.eye(3)[made.labels] * (np.arange(36) % 3 == 0)[:, None]])
    telling[:, :12] *= (np.arange(36) % 2)[:, None]
    assert checked(made, {}, words=telling)[1]["recurring_words"].p < 0.05


def test_identification_is_the_vote_of_the_other_prompts_written_out():
    rng = np.random.default_rng(0)
    words, labels = rng.integers(0, 2, (14, 6)).astype(float), np.array([0] * 5 + [1] * 9)
    frequency = words.sum(axis=0)
    right = np.zeros(14)
    for i in range(14):
        scores = []
        for k in (0, 1):
            mates = [j for j in range(14) if j != i and labels[j] == k]
            scores.append(
                np.mean([sum(words[i, w] * words[j, w] / frequency[w] for w in range(6)) for j in mates])
            )
        right[i] = 0.5 if np.isclose(*scores) else float(int(np.argmax(scores)) == labels[i])
    expected = (right[:5].mean() + right[5:].mean()) / 2
    assert identified(words, labels[None]).item() == pytest.approx(expected)


def test_holm_steps_down_and_never_exceeds_one():
    assert holm([0.5, 0.01, 0.02]) == pytest.approx([0.5, 0.03, 0.04])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []
