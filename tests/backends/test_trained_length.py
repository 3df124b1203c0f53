"""How long the clips of a model's training were, where that is known."""

import shutil
from pathlib import Path

import pytest

from moodlens.backends import catalog
from moodlens.backends.trained_length import trained_s
from moodlens.organism.architecture import CLIP_FRAMES, FRAME_RATE_HZ
from moodlens.params.pipeline import Model

ROOT = Path(__file__).parents[2]


def said(model_id: str, root: Path = ROOT) -> float | None:
    return trained_s(Model(model_id, "", "float32", "cpu"), root)


@pytest.mark.parametrize(
    "name", ["organism", "organism-memory-cut", "organism-music-only", "models/organism"]
)
def test_embedded_models_were_trained_on_the_clips_of_their_corpus(name: str):
    assert said(name) == CLIP_FRAMES / FRAME_RATE_HZ


def test_published_models_were_trained_on_thirty_seconds():
    assert {said(name) for name in catalog.HUB} == {30.0}


def test_a_length_that_is_not_known_is_none(tmp_path: Path):
    assert said(catalog.RANDOM) is None  # it is untrained
    assert said("someone/musicgen-jazz") is None
    shutil.copytree(ROOT / "models" / "organism" / "memory", tmp_path / "mine")
    assert said("mine", tmp_path) is None  # max_length there is its user's
    assert said("nowhere", tmp_path) is None
