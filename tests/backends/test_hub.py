"""Models of the hub, from a hub on this machine: resumed, refused in one line, converted from pickles."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from safetensors.torch import load_file

from moodlens.backends import catalog
from moodlens.backends.checkpoint import verify_checkpoint
from moodlens.backends.pickles import convert_pickles
from moodlens.base.errors import MoodLensError, UsageError
from moodlens.params.pipeline import Model
from tests.backends.fake_hub import COMMIT, FakeHub, serving
from tests.backends.mutations import shards

OURS = "facebook/musicgen-small"
TUNED = "someone/musicgen-jazz"
WEIGHTS = "model.safetensors"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub, no proxy, and a client of this test's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    close_session()
    yield tmp_path / "cache"
    close_session()


@pytest.fixture
def model(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "published")


@pytest.fixture
def fake(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub({OURS: model, TUNED: model})) as fake:
        point_at(fake.endpoint, monkeypatch)
        yield fake


def point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what HF_ENDPOINT does when the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def found(model_id: str, root: Path, revision: str = "") -> Path:
    return catalog.find(Model(model_id, revision, "float32", "cpu"), root).checkpoint.folder


def refused(model_id: str, root: Path, revision: str = "") -> str:
    with pytest.raises(MoodLensError) as caught:
        found(model_id, root, revision)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 700
    return said


@pytest.mark.parametrize("model_id", [OURS, TUNED])
def test_a_published_model_and_a_fine_tune_are_downloaded_once(fake: FakeHub, tmp_path: Path, model_id: str):
    assert found(model_id, tmp_path).name == COMMIT
    n_asked = len(fake.asked)
    assert found(model_id, tmp_path).name == COMMIT
    assert len(fake.asked) == n_asked, "a whole model asks the hub nothing"


def test_a_download_that_was_cut_off_is_resumed(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The folder of the cache held configuration and tokenizer; it was refused and the hub asked nothing."""
    fake.broken = WEIGHTS
    monkeypatch.setattr("time.sleep", lambda _s: None)
    assert "must be cached or downloadable" in refused(OURS, tmp_path)
    fake.broken = ""
    folder = found(OURS, tmp_path)
    assert (folder / WEIGHTS).read_bytes() == (fake.models[OURS] / WEIGHTS).read_bytes()
    assert fake.sent("config.json") == 1, "whole files are kept"


def test_a_shard_that_the_cache_lacks_is_fetched(fake: FakeHub, model: Path, tmp_path: Path):
    shards()(model)
    folder = found(OURS, tmp_path)
    (folder / "b.safetensors").unlink()
    assert verify_checkpoint(found(OURS, tmp_path)).weights[1].is_file()


def by_hand(cache: Path, files: list[Path]) -> Path:
    """Put files into the cache as earlier versions of the library left them: without a list of all files."""
    place = cache / "models--facebook--musicgen-small"
    snapshot = place / "snapshots" / COMMIT
    for folder in (snapshot, place / "refs"):
        folder.mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    for path in files:
        shutil.copy(path, snapshot)
    return snapshot


@pytest.mark.parametrize("absent", ["config.json", "tokenizer.json", WEIGHTS, "b.safetensors"])
def test_a_part_in_a_cache_of_an_earlier_version_is_completed(
    fake: FakeHub, model: Path, cache: Path, tmp_path: Path, absent: str
):
    if absent != WEIGHTS:
        shards()(model)
    snapshot = by_hand(cache, [path for path in model.iterdir() if path.name != absent])
    assert found(OURS, tmp_path) == snapshot
    assert (snapshot / absent).read_bytes() == (model / absent).read_bytes()


def test_a_tokenizer_that_the_hub_lacks_is_named(fake: FakeHub, model: Path, tmp_path: Path):
    (model / "tokenizer.json").unlink()
    assert "tokenizer.json or spiece.model" in refused(TUNED, tmp_path)


def test_offline_a_part_of_a_model_is_named(fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = found(OURS, tmp_path)
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    said = refused(OURS, tmp_path)
    assert "must be cached or downloadable" in said
    assert "HF_HUB_OFFLINE unset" in said


def test_a_revision_or_a_model_that_is_absent_or_gated_is_named(fake: FakeHub, tmp_path: Path):
    fake.gated.add("someone/gated")
    said = refused(OURS, tmp_path, "v9")
    assert f"model.revision must exist in {OURS}; got 'v9'" in said
    assert "must exist on the hub; got 'someone/musicgen-jaz'" in refused("someone/musicgen-jaz", tmp_path)
    assert "must be open to you" in refused("someone/gated", tmp_path)


@pytest.mark.parametrize("model_id", ["facebook/audiogen-medium", "facebook/magnet-small-10secs"])
def test_other_families_are_told_what_to_do(fake: FakeHub, tmp_path: Path, model_id: str):
    said = refused(model_id, tmp_path)
    assert "AudioGen is published in audiocraft layout" in said or "MAGNeT fills" in said
    assert not fake.asked


@pytest.mark.parametrize(
    "endpoint",
    [
        "nonsense", "localhost:1", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999",
        "http://127.0.0.1:1", "http://a b", "http://\u202e", "https://127.0.0.1:1/", "http://.", "http://-:1",
    ],
)  # fmt: skip
def test_an_odd_endpoint_is_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
):
    point_at(endpoint, monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _s: None)
    assert "must be cached or downloadable" in refused(OURS, tmp_path)


@pytest.mark.parametrize(
    "proxy",
    ["nonsense", "http://", "socks5://127.0.0.1:1", "ftp://x", "http://127.0.0.1:1", "http://[", "::"],
)
def test_an_odd_proxy_is_one_line(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    point_at("https://127.0.0.1:1", monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _s: None)
    assert "must be cached or downloadable" in refused(OURS, tmp_path)


def pickled(model: Path, in_shards: bool = False) -> dict[str, torch.Tensor]:
    """Put pickles in the place of the safetensors file, with T5's embedding under both of its names."""
    held = load_file(model / WEIGHTS)
    held["text_encoder.encoder.embed_tokens.weight"] = held["text_encoder.shared.weight"]
    names = sorted(held)
    parts = {"pytorch_model.bin": names}
    if in_shards:
        parts = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
        index = {"metadata": {}, "weight_map": {name: file for file, own in parts.items() for name in own}}
        (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for file, own in parts.items():
        torch.save({name: held[name] for name in own}, model / file)
    (model / WEIGHTS).unlink()
    return held


@pytest.mark.parametrize("in_shards", [False, True])
def test_pickles_of_the_cache_are_converted_as_tensors_alone(
    cache: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_shards: bool
):
    held = pickled(model, in_shards)
    snapshot = by_hand(cache, list(model.iterdir()))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    said = refused(OURS, tmp_path)
    assert f"got 'pickles alone' (hub, {COMMIT}). Run `moodlens models convert {snapshot} TARGET`" in said
    target = convert_pickles(snapshot, tmp_path / "target")
    assert found(str(target), tmp_path) == target
    made = load_file(target / WEIGHTS)
    assert {*made, "text_encoder.encoder.embed_tokens.weight"} == set(held)
    assert all(torch.equal(made[name], held[name]) for name in made)
    assert not [path for path in target.iterdir() if "bin" in path.name]
    with pytest.raises(UsageError, match="the target must not exist yet"):
        convert_pickles(snapshot, target)


class Trap:
    """A pickle that would leave a file behind if its code ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_that_hold_code_or_no_tensors_are_refused_and_nothing_is_written(model: Path, tmp_path: Path):
    target = tmp_path / "target"
    (model / WEIGHTS).unlink()
    contents = {
        "must exist in the folder|must hold|pytorch_model.bin": None,
        "must hold tensors and plain values only; got '(posix|os).mkdir'": Trap(tmp_path / "sprung"),
        "must hold named tensors alone; got 'list'": [torch.ones(2)],
        "must hold named tensors alone; got 'dict'": {"epoch": 3},
    }
    for said, content in contents.items():
        if content is not None:
            torch.save(content, model / "pytorch_model.bin")
        with pytest.raises(MoodLensError, match=said) as caught:
            convert_pickles(model, target)
        assert "\n" not in str(caught.value)
    whole = (model / "pytorch_model.bin").read_bytes()
    for keep in (0, 3, len(whole) // 2):
        (model / "pytorch_model.bin").write_bytes(whole[:keep])
        with pytest.raises(MoodLensError, match="must be a whole file written by torch"):
            convert_pickles(model, target)
    assert not target.exists()
    assert not (tmp_path / "sprung").exists()
