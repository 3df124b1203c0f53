"""The table of targets: what it says follows the figures and the params, met and not met."""

from dataclasses import replace
from pathlib import Path

from moodlens.report.sae import targets_grid
from moodlens.stages.shell import load_params

PARAMS = load_params(Path(__file__).parents[2])
TRAINED = {
    "sites": {
        "text": {"mse": 0.08, "mse_train": 0.02, "fvu": 0.1, "fvu_train": 0.025, "l0": 16.0}
        | {"n_rows": 3200, "d_sae": 512}
    }
}
FOUND = {
    "sites": {
        "text": {"n_selective": 234, "n_selective_least": 43, "n_latents": 512, "shuffled_selective": 0.5}
        | {"untrained_sae_selective": 391, "n_prompts": 64, "n_wordings": 36}
    }
}


def lines(**report: float) -> list[list[str]]:
    grid = targets_grid(TRAINED, FOUND, PARAMS.sae, PARAMS.latents, replace(PARAMS.report, **report))
    assert grid is not None
    return [[cell.text for cell in row] for row in grid.rows]


def test_what_is_missed_says_why_in_figures():
    mse, l0, selective, rarest = lines(
        target_mse=0.02, target_l0=50, target_selective=50, target_per_emotion=44
    )
    assert mse[2] == "no"
    assert "variance is 0.800 per dimension" in mse[3]
    assert "allows 2.5\u202f% of it" in mse[3]
    assert "100 firings per latent" in mse[3]
    assert l0[1:3] == ["16.0", "yes"], "the chosen k is reached"
    assert "the range is not met" in l0[3]
    assert selective[1:3] == ["234 of 512", "yes"]
    assert "391 pass" in selective[3]
    assert rarest[2] == "no"
    assert "36 wordings" in rarest[3]


def test_what_is_reached_is_met():
    mse, l0, selective, rarest = lines(
        target_mse=0.09, target_l0=10, target_selective=235, target_per_emotion=43
    )
    assert (mse[2], l0[2], selective[2], rarest[2]) == ("yes", "yes", "no", "yes")
    assert l0[3] == "Within the range."


def test_a_penalty_has_no_chosen_k():
    relu = replace(PARAMS.sae, architecture="relu")
    grid = targets_grid(TRAINED, FOUND, relu, PARAMS.latents, PARAMS.report)
    assert grid is not None
    assert [cell.text for cell in grid.rows[1]][2] == "no"


def test_without_a_text_sae_there_is_no_table():
    args = (PARAMS.sae, PARAMS.latents, PARAMS.report)
    assert targets_grid({"trained": False}, {"sites": {}}, *args) is None
    assert targets_grid({"sites": {"residual.3": {}}}, FOUND, *args) is None
