"""Stand-ins exist only during an import, and only for absent packages."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from moodlens.backends.audiocraft import stand_ins as module
from moodlens.backends.audiocraft.stand_ins import PACKAGES, import_audiocraft, stand_ins
from moodlens.base.errors import UsageError

ABSENT = tuple(name for name in PACKAGES if find_spec(name) is None)


def test_they_can_be_imported_inside_the_block_only():
    with stand_ins() as names:
        assert set(ABSENT) <= set(names) <= set(sys.modules)
        for name in ABSENT:
            assert find_spec(name) is not None  # raises for a module without a spec
        from xformers import ops

        assert ops.unbind is torch.unbind
    assert not set(names) & set(sys.modules)
    assert all(find_spec(name) is None for name in ABSENT)


def test_they_are_removed_when_the_block_fails():
    with pytest.raises(ZeroDivisionError), stand_ins():
        _ = 1 / 0
    assert not set(ABSENT) & set(sys.modules)


def test_instantiating_a_stand_in_class_names_the_absent_package():
    with stand_ins():
        from torchaudio.transforms import MelSpectrogram
    with pytest.raises(UsageError, match="torchaudio must be installed to use its MelSpectrogram"):
        MelSpectrogram(16000)


def test_an_installed_package_gets_no_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "spacy.py").write_text("real = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with stand_ins() as names:
        assert "spacy" not in names
        import spacy

        assert spacy.real
    sys.modules.pop("spacy")


def test_audiocraft_works_after_they_are_removed(reference):
    assert import_audiocraft().__version__ == "1.3.0"
    assert not {name for name in sys.modules if name.split(".")[0] in ABSENT}
    reference.set_generation_params(use_sampling=False, duration=0.1)
    assert reference.generate(["sad"]).shape[0] == 1  # unbind is called in every attention
    from transformers.utils import is_torchaudio_available

    assert is_torchaudio_available() == ("torchaudio" not in ABSENT)


def test_audiocraft_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str):
        if name.startswith("audiocraft"):
            raise ModuleNotFoundError("No module named 'audiocraft'", name="audiocraft")
        return sys.modules[name]

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(
        UsageError, match=r"audiocraft must be installed; got 'no audiocraft'\. Run `make audiocraft`"
    ):
        import_audiocraft()


def test_importing_moodlens_imports_neither_torch_nor_audiocraft():
    code = "import sys, moodlens; print({'torch', 'audiocraft', 'transformers'} & set(sys.modules))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "set()"
