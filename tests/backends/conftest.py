"""A tiny MusicGen with random weights, saved once per session, and its loaded backend."""

import shutil
from pathlib import Path

import pytest
import torch

from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.params.pipeline import Model
from tests.tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def backend(tiny_folder: Path) -> MusicgenBackend:
    return catalog.load(Model(str(tiny_folder), "", "float32", "cpu"), tiny_folder)


@pytest.fixture
def folder(audiocraft_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(audiocraft_folder, tmp_path / "model")
    return tmp_path / "model"
