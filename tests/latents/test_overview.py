"""The overview of the SAEs: the same keys for every SAE, counts whole, other numbers at four digits."""

from moodlens.latents.evidence import sae_overview_of

SAE = {
    "trained": True,
    "sites": {
        "text": {"dead": 0.0429688, "fvu": 0.0836534, "l0": 16.0, "mse": 0.0849828, "n_rows": 9},
        "residual.3": {"dead": 0.0, "fvu": 0.234605, "l0": 16.0, "mse": 0.87957},
    },
}
LATENTS = {
    "sites": {
        "text": {"n_selective": 12345, "stable_70": 0.261224, "n_latents": 9}
        | {"seeds": {"n": 5, "sparse_1": {"mean": 0.912345, "low": 0.9, "high": 0.93}}}
    }
}


def test_every_sae_has_the_same_keys_and_what_was_not_analysed_is_none():
    overview = sae_overview_of(SAE, LATENTS)
    assert overview["text"] == {
        "dead": 0.04297,
        "fvu": 0.08365,
        "l0": 16.0,
        "mse": 0.08498,
        "n_selective": 12345,
        "stable_70": 0.2612,
        "selectivity": None,
        "sparse_1": 0.9123,
    }
    assert list(overview["residual.3"]) == list(overview["text"])
    assert overview["residual.3"]["n_selective"] is overview["residual.3"]["stable_70"] is None


def test_without_an_sae_there_is_nothing_to_show():
    assert sae_overview_of({"trained": False}, {"sites": {}, "trained": False}) == {}
