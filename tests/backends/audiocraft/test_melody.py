"""Null text of a melody model: its states do not tell the length of the prompt beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.backends import catalog
from moodlens.backends.audiocraft.convert import convert
from moodlens.contracts.backend import Capture, ClipRequest, MusicBackend, Sampling
from moodlens.contracts.interventions import Intervention
from moodlens.params.pipeline import Model
from tests.tiny_audiocraft import give_melody_parts, save_tiny_audiocraft

SHORT, LONG = "sad", "a very happy and bright piano piece with a fast beat"
REQUESTS = [ClipRequest(f"c{i}", f"p{i}", text, i) for i, text in enumerate((SHORT, LONG))]
CAPTURE = Capture(("residual", "logits"), half="both", summaries=True)


@pytest.fixture(scope="module", params=["mask", "attend"])
def melody(request: pytest.FixtureRequest, tiny_t5: Path, tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("melody")
    with pytest.MonkeyPatch.context() as patch:
        give_melody_parts(patch)
        folder = convert(save_tiny_audiocraft(root / "audiocraft", tiny_t5, "melody"), root / "converted")
    return catalog.load(Model(str(folder), "", "float32", "cpu", request.param), root)


def test_null_text_beside_a_text_is_null_text_alone(melody: MusicBackend):
    codes = np.zeros((1, 4, 8), np.int16)
    alone = melody.teacher_force(codes, [None], replace(CAPTURE, half="uncond"))
    for text in (SHORT, LONG):
        beside = melody.teacher_force(codes, [text], CAPTURE)
        assert {key.split("/")[1] for key in beside.values} == {"cond", "uncond"}
        for key, states in alone.values.items():
            assert np.array_equal(beside.values[key], states), key
        for key, values in alone.figures.items():
            assert np.array_equal(beside.figures[key], values), key


def test_null_states_of_generation_are_those_of_the_tokens_under_null_text(melody: MusicBackend):
    made = melody.generate(REQUESTS, Sampling(8), CAPTURE)
    forced = melody.teacher_force(made.codes, [None, None], replace(CAPTURE, half="uncond"))
    for key, states in forced.values.items():
        assert np.allclose(made.states.values[key], states, atol=1e-5), key
    cond = melody.generate(REQUESTS, Sampling(8), replace(CAPTURE, half="cond"))
    null = melody.generate(REQUESTS, Sampling(8), replace(CAPTURE, half="uncond"))
    assert np.array_equal(cond.codes, made.codes)
    assert np.array_equal(null.codes, made.codes)
    assert made.states.values.keys() == cond.states.values.keys() | null.states.values.keys()


def test_a_patch_reaches_the_half_that_it_names(melody: MusicBackend):
    codes = np.zeros((1, 4, 8), np.int16)
    before = melody.teacher_force(codes, [LONG], CAPTURE)
    changed = {}
    for half in ("cond", "uncond"):
        given = before.values[f"residual.0/{half}"][0] + 1
        edit = Intervention("residual.0", "replace", half, vectors=given)
        after = melody.teacher_force(codes, [LONG], CAPTURE, [[edit]])
        key = "residual.1"
        changed[half] = {
            other: not np.array_equal(after.values[f"{key}/{other}"], before.values[f"{key}/{other}"])
            for other in ("cond", "uncond")
        }
    assert changed == {
        "cond": {"cond": True, "uncond": False},
        "uncond": {"cond": False, "uncond": True},
    }
