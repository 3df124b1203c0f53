"""Made once per session: a small MusicGen in audiocraft layout, also converted; an empty MLflow store."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moodlens.backends.audiocraft.convert import convert
from moodlens.store.tracking import connect
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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        connect(folder)
    return folder / "mlflow.db"


@pytest.fixture
def with_store(empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Return a function that gives a workspace an empty store of its own, and returns the workspace."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def give(root: Path) -> Path:
        shutil.copyfile(empty_database, root / "mlflow.db")
        return root

    return give
