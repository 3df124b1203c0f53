"""Sentences and tables on latents: they follow the numbers, say what has no control, and claim no counts."""

import copy
from typing import Any

import pytest

from moodlens.report.latent_claims import claim_sentences, sparse_figure
from moodlens.report.latent_tables import claim_grids
from moodlens.report.latents import latents_finding

EMOTIONS = ("happy", "sad")


def score(accuracy: float, low: float | None, high: float | None, p: float | None) -> dict[str, Any]:
    """A score whose gain over it has the interval given."""
    own = {"accuracy": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05}
    return own | {"gain": None if low is None else 0.1, "gain_low": low, "gain_high": high, "gain_p": p}


SITE: dict[str, Any] = {
    "n_selective": 591,
    "n_latents": 768,
    "n_prompts": 64,
    "n_wordings": 36,
    "untrained_sae_selective": 387,
    "no_matched_control": "no matched control: 591 needed, 177 available (within a factor of 2)",
    "sparse": {
        k: {
            "sae": score(0.8, None, None, None),
            "random": score(0.7, 0.05, 0.15, 0.01),
            "pca": score(0.79, -0.1, 0.12, 0.4),
            "dense": score(0.95, -0.2, -0.1, 1.0),
        }
        for k in ("1", "2", "5")
    },
    "perturbation": {
        "on_target": 0.3,
        "off_target": 0.05,
        "selectivity": 0.25,
        "low": 0.1,
        "high": 0.4,
        "control": 0.01,
        "p": 0.025,
        "no_control": "",
        "matrix": {a: {b: 0.3 if a == b else 0.05 for b in EMOTIONS} for a in EMOTIONS},
    },
    "removal": {
        "n_removed": 64.0,
        "accuracy": 0.94,
        "no_control": "",
        "accuracy_without_chosen": 0.6,
        "accuracy_without_matched": 0.93,
    },
    "absorption": {
        "n_wordings": 36,
        "missed": 0.1,
        "absorbed": 0.05,
        "low": 0.01,
        "high": 0.2,
        "n_leaders": 2.5,
        "largest": 0.6,
        "by_emotion": {},
    },
    "seeds": {
        "n": 5,
        "needed": 5,
        "claims": True,
        "stable_70": {"mean": 0.26, "low": 0.2, "high": 0.32},
        "selectivity": {"mean": 0.25, "low": 0.2, "high": 0.3},
        "sparse_1": {"mean": 0.8, "low": 0.75, "high": 0.85},
    },
    "accuracy_states": 0.94,
    "accuracy_twin_states": 0.8,
}


def said(**changes: Any) -> str:
    return " ".join(claim_sentences(copy.deepcopy(SITE) | changes))


def test_the_sae_is_ahead_only_where_interval_and_p_agree():
    text = said()
    assert "ahead of random directions and not distinguishable from principal components" in text
    scores = copy.deepcopy(SITE["sparse"])
    scores["1"]["random"]["gain_p"] = 0.06
    scores["1"]["pca"]["gain_high"] = -0.01
    text = said(sparse=scores)
    assert "not distinguishable from random directions and behind principal components" in text


def test_the_sae_is_not_ahead_where_its_seeds_disagree():
    seeds = SITE["seeds"] | {"gain_random_1": {"mean": 0.1, "low": -0.02, "high": 0.2}}
    assert "not distinguishable from random directions" in said(seeds=seeds)
    seeds["gain_random_1"]["low"] = 0.02
    assert "ahead of random directions" in said(seeds=seeds)


def test_a_control_or_the_reason_why_there_is_none():
    assert (
        "0.25 [0.100, 0.400] against 0.010 for random latents matched in number and activity (p 0.025)"
        in said()
    )
    reason = "no matched control: 16 needed, 9 available (within a factor of 2)"
    text = said(
        perturbation=SITE["perturbation"] | {"p": None, "control": None, "no_control": reason},
        removal={"n_removed": 64.0, "accuracy": 0.94, "no_control": reason},
    )
    assert text.count(reason) == 2
    assert f"the difference is 0.25 [0.100, 0.400]; {reason}." in text
    assert "(p" not in text
    assert "refitted detectors" not in text


def test_fewer_seeds_than_a_claim_needs_are_called_descriptive():
    assert "descriptive" not in said()
    text = said(seeds=SITE["seeds"] | {"n": 3, "claims": False})
    assert "All of this is descriptive: a claim about SAEs needs 5 seeds." in text
    grids = claim_grids("text", SITE | {"seeds": SITE["seeds"] | {"n": 3, "claims": False}})
    assert any("3 seeds" in grid.caption and "descriptive" in grid.caption for grid in grids)


def test_the_twin_is_read_as_the_model_is():
    assert "94\u202f% of the model's prompts and from 80\u202f% of the untrained twin's" in said()


@pytest.mark.parametrize("name", ["sparse", "perturbation", "removal", "absorption", "seeds"])
def test_what_was_not_measured_is_left_out(name: str):
    without = {key: value for key, value in SITE.items() if key != name}
    assert len(claim_sentences(without)) == len(claim_sentences(SITE)) - 1
    expected = len(claim_grids("text", SITE)) - (name != "removal")
    assert len(claim_grids("text", without)) == expected


def test_the_chapter_claims_no_count_and_names_the_missing_control():
    finding = latents_finding({"sites": {"text": SITE}}, [], [], 0.05)
    assert finding is not None
    assert "591 selective latents: no matched control: 591 needed, 177 available" in finding.summary
    counted = finding.summary[finding.summary.index("591 of 768") :]
    assert counted.startswith("591 of 768 latents and 387 of as many random directions are selective")
    assert "no evidence" in counted


def test_metrics_of_an_older_run_still_make_a_chapter():
    old = {key: SITE[key] for key in ("n_selective", "n_latents", "n_prompts", "n_wordings")}
    finding = latents_finding({"sites": {"text": old | {"untrained_sae_selective": 387}}}, [], [], 0.05)
    assert finding is not None
    assert finding.summary.startswith("text: 591 of 768")
    assert len(finding.figures) == 1


def test_the_figure_names_every_basis_with_its_numbers():
    figure = sparse_figure("text", SITE, "64 prompts, 36 wordings", "latents-sparse-text")
    assert figure is not None
    for name in ("SAE latents", "random directions", "principal components", "dense probe"):
        assert name in figure.svg
    assert "k-sparse probes, text, k = 1, 2, 5" in figure.svg
    assert "whole wordings held out" in figure.svg
