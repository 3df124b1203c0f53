"""`moodlens models`: list, convert, verify, through the command line."""

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from moodlens.backends import catalog
from moodlens.backends.audiocraft.converted import converted
from moodlens.backends.checkpoint import verify_checkpoint
from moodlens.cli import __main__ as cli

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path, converted_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose organism is the small model, with no hub and a cache of its own."""
    root = tmp_path / "work"
    shutil.copytree(converted_folder, root / catalog.ORGANISM)
    shutil.copy(ROOT / "params.yaml", root)
    (root / ".git").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))

    def offline(_repo: str, **_: object) -> str:
        raise LocalEntryNotFoundError("outgoing traffic is disabled")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    return root


def output_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert cli.main(["models", *map(str, words)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert cli.main(["models", *map(str, words)]) in (1, 2)
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.split()[0] == name)


def test_list_prints_every_model_its_licence_and_its_folder(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    text = output_of(capsys, "list")
    for name in (*catalog.EMBEDDED, *catalog.HUB):
        assert row(text, name)
    organism = row(text, "organism")
    assert "Apache-2.0" in organism
    assert organism.endswith(str(workspace / catalog.ORGANISM))
    assert "MB" in organism
    assert row(text, "organism-shuffled").endswith("not cached")
    large = row(text, "facebook/musicgen-stereo-melody-large")
    assert "3.3 B" in large
    assert "CC-BY-NC 4.0" in large
    assert large.endswith("not cached")


def test_list_shows_what_is_cached_and_converted(
    workspace: Path, converted_folder: Path, audiocraft_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _repo, **_: str(converted_folder))
    copy = converted(audiocraft_folder)
    text = output_of(capsys, "list", "--checksum")
    assert f"{converted_folder}  sha256 {verify_checkpoint(converted_folder).sha256}" in row(
        text, "facebook/musicgen-small"
    )
    assert str(copy) in text
    (workspace / catalog.ORGANISM / "model.safetensors").write_bytes(b"short")
    assert "sha256 not computed: " in row(output_of(capsys, "list", "--checksum"), "organism")
    (workspace / catalog.ORGANISM / "model.safetensors").unlink()
    assert row(output_of(capsys, "list"), "organism").endswith("(no weights)")


def test_convert_then_verify(
    workspace: Path, audiocraft_folder: Path, converted_folder: Path, capsys: pytest.CaptureFixture[str]
):
    target = workspace / "mine"
    made = output_of(capsys, "convert", audiocraft_folder, target)
    checksum = verify_checkpoint(converted_folder).sha256
    for part in ("converted", str(target), "3 layers x 32, 4 codebooks x 32", checksum, "pipeline  yes"):
        assert part in made
    assert made == "converted\n" + output_of(capsys, "verify", target)
    source = output_of(capsys, "verify", audiocraft_folder)
    for part in ("audiocraft, text, 1 channel(s)", "3 layers x 32", "state_dict.bin", "(not in the folder)"):
        assert part in source
    assert "must not exist yet" in refused(capsys, "convert", audiocraft_folder, target)


def test_verify_an_id(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert "pipeline  yes" in output_of(capsys, "verify", "organism")
    assert "Did you mean 'organism'?" in refused(capsys, "verify", "organizm")
    assert "must be cached or downloadable" in refused(capsys, "verify", "facebook/musicgen-small")
    assert "must be in models/organism/shuffled" in refused(capsys, "verify", "organism-shuffled")


def test_verify_damage(workspace: Path, audiocraft_folder: Path, capsys: pytest.CaptureFixture[str]):
    weights = workspace / catalog.ORGANISM / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "as its header says" in refused(capsys, "verify", workspace / catalog.ORGANISM)
    folder = workspace / "damaged"
    shutil.copytree(audiocraft_folder, folder)
    torch.save({"weights": 1}, folder / "state_dict.bin")
    assert "must hold 'xp.cfg' and 'best_state'" in refused(capsys, "verify", folder)
    assert "must hold 'xp.cfg' and 'best_state'" in refused(capsys, "convert", folder, workspace / "out")
    assert not (workspace / "out").exists()


def test_stereo_is_verified_and_converted(workspace: Path, tiny_t5: Path, capsys: pytest.CaptureFixture[str]):
    from tests.tiny_audiocraft import save_tiny_audiocraft

    folder = save_tiny_audiocraft(workspace / "stereo", tiny_t5, "stereo")
    assert "audiocraft, text, 2 channel(s)" in output_of(capsys, "verify", folder)
    made = output_of(capsys, "convert", folder, workspace / "out", "--text-encoder", tiny_t5)
    assert "musicgen, 2 channel(s)" in made
    assert "8 codebooks" in made
    assert "pipeline  yes" in made


def test_download_prints_the_licence_and_the_folder(
    workspace: Path,
    converted_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    downloads = []

    def hub(repo: str, local_files_only: bool = False, **wanted: object) -> str:
        downloads.append((repo, wanted["revision"], local_files_only))
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        return str(converted_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    text = output_of(capsys, "download", "facebook/musicgen-small", "--revision", "abc")
    assert downloads == [("facebook/musicgen-small", "abc", True), ("facebook/musicgen-small", "abc", False)]
    for part in (
        "weights under CC-BY-NC 4.0",
        str(converted_folder),
        verify_checkpoint(converted_folder).sha256,
    ):
        assert part in text


def test_download_refused(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert "Did you mean 'facebook/musicgen-medium'?" in refused(capsys, "download", "musicgen-medium")
    line = refused(capsys, "download", "facebook/musicgen-small")
    assert "must be cached or downloadable" in line
    assert "copy a downloaded folder" in line
