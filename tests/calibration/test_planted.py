"""Planted effects are detected in their layer, more often with more prompts, and rarely called absent."""

from moodlens.base.seeding import rng_for
from moodlens.calibration.rates import detected_in_layer, none_claimed, power
from moodlens.calibration.simulate import World


def generators(name: str, n: int):
    return [rng_for("test planted", name, sim) for sim in range(n)]


def test_power_rises_with_prompts_and_share():
    few, many, large = (
        power(World(4 * n, 2, 0.3, planted=share), 0.05, generators("power", 60))
        for n, share in ((4, 0.02), (32, 0.02), (4, 0.2))
    )
    assert few.value < 0.5 < many.value
    assert large.value > few.value + 0.3


def test_the_planted_layer_is_found():
    world = World(64, 2, 0.3, n_layers=24, layer_share=0.5, planted=0.05, planted_layer=7)
    anywhere, in_place = detected_in_layer(world, "prompt", 0.05, generators("place", 60))
    assert anywhere.value >= in_place.value >= 0.88


def test_none_is_not_said_of_an_effect_that_the_test_would_have_seen():
    world = World(160, 2, 0.3, n_layers=2, layer_share=0.5)
    said, claimed = none_claimed(world, 0.02, 0.05, 0.8, generators("none", 30))
    assert claimed > 0.8
    assert said.low < 0.2
    assert said.value <= 0.2


def test_none_is_never_said_without_the_power_to_say_it():
    """Twelve prompts miss 2 % nearly always, and know that they would."""
    said, claimed = none_claimed(World(12, 2, 0.3), 0.02, 0.05, 0.8, generators("weak", 20))
    assert claimed < 0.5
    assert said.value == 0
