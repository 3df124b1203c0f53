"""A small MusicGen in audiocraft layout, as audiocraft loads it, and converted: made once per session."""

from pathlib import Path
from typing import Any

import pytest
import torch

from moodlens.backends.audiocraft.convert import convert
from tests.tiny_audiocraft import load_audiocraft, save_tiny_audiocraft, save_tiny_t5


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_tiny_t5(tmp_path_factory.mktemp("t5") / "t5")


@pytest.fixture(scope="session")
def audiocraft_folder(tiny_t5: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_audiocraft(tmp_path_factory.mktemp("audiocraft") / "mono", tiny_t5)


@pytest.fixture(scope="session")
def reference(audiocraft_folder: Path) -> Any:
    """The model as audiocraft loads it; it shares nothing with the conversion but the files."""
    return load_audiocraft(audiocraft_folder)


@pytest.fixture(scope="session")
def converted_folder(audiocraft_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(audiocraft_folder, tmp_path_factory.mktemp("converted") / "mono")
