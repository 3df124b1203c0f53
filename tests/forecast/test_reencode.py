"""Cost of stage `reencode` against hand-worked values."""

from dataclasses import replace

from moodlens.forecast.generation import Rates
from moodlens.forecast.reencode import reencode_cost
from moodlens.forecast.sizes import published_config, sizes_of
from tests.forecast.test_cost import LOAD, SMALL, analysis

SIZES = sizes_of(published_config(SMALL) or {})
RATES = Rates(1e11, 2e10)
LARGEST = "passes, or a shard being written"


def test_disk_by_hand():
    """8 clips, 8 stored steps of 1024 values, 7 memories, 5 untrained decoders, 64 units."""
    disk = reencode_cost(SIZES, LOAD, analysis(), RATES).disk
    # 9 passes of 3 means in float16, one variance in float32 and 8 steps; codec history of 128 in float32
    assert disk["states"] == 8 * (9 * 1024 * (3 * 2 + 4 + 8 * 2) + 4 * 8 * 128)
    assert disk["memory of untrained decoders"] == 8 * 5 * 7 * 8 * 1024 * 2
    assert disk["recurrent network"] == 8 * 2 * 7 * 8 * 64 * 2


def test_a_recurrent_network_is_no_wider_than_the_model():
    wide = replace(analysis(), recurrent_units=10**6)
    assert reencode_cost(SIZES, LOAD, wide, RATES).disk["recurrent network"] == 8 * 2 * 7 * 8 * 1024 * 2


def test_further_decoders_and_steps_cost_time_and_all_clips_of_the_network_memory():
    base = reencode_cost(SIZES, LOAD, analysis(), RATES)
    more = reencode_cost(SIZES, LOAD, replace(analysis(), n_draws=9), RATES)
    assert more.disk["memory of untrained decoders"] * 5 == base.disk["memory of untrained decoders"] * 9
    # 4 further decoders read 8 clips of 53 steps, at 0.6 of the rate, and their memories are summed
    passes = 4 * 8 * 2 * 53 * SIZES.n_step + 2 * 8 * 4 * 7 * 8 * 53 * 1024
    assert abs(more.seconds - base.seconds - passes / 1e11 / 0.6) < 1e-6
    assert reencode_cost(SIZES, LOAD, replace(analysis(), recurrent_steps=200), RATES).seconds > base.seconds
    many = reencode_cost(SIZES, replace(LOAD, n_clips=100_000), analysis(), RATES)
    assert many.memory[LARGEST] > 2 * 4 * 100_000 * 53 * 64  # before and after training, float32
