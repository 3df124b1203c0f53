"""Model ids and model folders: every fault ends in an error line that says what to do."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from moodlens.backends import catalog
from moodlens.base.errors import ContractError, MoodLensError, UsageError
from moodlens.contracts.backend import Capture
from moodlens.params.pipeline import Model


def model(model_id: str, device: str = "cpu") -> Model:
    return Model(model_id, "", "float32", device)


@pytest.fixture
def root(tiny_folder: Path, tmp_path: Path) -> Path:
    """A workspace whose embedded organism is the tiny model."""
    for folder in dict.fromkeys(catalog.EMBEDDED.values()):
        shutil.copytree(tiny_folder, tmp_path / folder, dirs_exist_ok=True)
    return tmp_path


def test_embedded_models_are_described_without_loading(root: Path):
    sources = {name: catalog.find(model(name), root) for name in catalog.EMBEDDED}
    info = catalog.describe(sources["organism"], model("organism"))
    assert (info.n_layers, info.d_model, info.d_text, info.n_codebooks) == (2, 32, 16, 4)
    assert (info.frame_rate_hz, info.sample_rate_hz, info.codebook_size) == (50.0, 16000, 32)
    assert (
        sources["organism"].weights_sha256 == sources["organism-shuffled"].weights_sha256
    )  # same bytes here
    changed = {sources[name].weights_sha256 for name in ("organism", *catalog.CHANGES)}
    assert len(changed) == 1 + len(catalog.CHANGES), "a changed model has a digest of its own"


def test_a_cut_text_path_leaves_the_first_layers_without_text(root: Path):
    whole, cut = (catalog.load(model(name), root) for name in ("organism-memory", catalog.CUT))
    codes = np.zeros((1, 4, 6), np.int16)
    capture = Capture(("cross_attention",))
    n_layers = whole.info.n_layers
    for backend, silent in ((whole, ()), (cut, range(min(catalog.CUT_LAYERS, n_layers)))):
        states = backend.teacher_force(codes, ["happy flute piece"], capture)
        heard = {
            layer: np.abs(states.values[f"cross_attention.{layer}/cond"]).max() for layer in range(n_layers)
        }
        assert [layer for layer in heard if heard[layer] == 0] == list(silent)


def test_a_local_folder_is_a_model(root: Path):
    by_name = catalog.find(model("organism"), root)
    relative = catalog.find(model(catalog.ORGANISM), root)
    absolute = catalog.find(model(str(root / catalog.ORGANISM)), root)
    assert by_name.weights_sha256 == relative.weights_sha256 == absolute.weights_sha256


@pytest.mark.parametrize("prefix", ["", catalog.AUDIOCRAFT])
def test_an_untracked_folder_is_absent_from_a_queued_run(root: Path, prefix: str):
    copy = root / ".dvc" / "tmp" / "exps" / "tmpx"
    copy.mkdir(parents=True)
    with pytest.raises(UsageError, match="must be tracked by git") as caught:
        catalog.find(model(f"{prefix}{catalog.ORGANISM}"), copy)
    assert str(root / catalog.ORGANISM) in one_line(caught.value)


def test_the_random_organism_is_untrained_and_not_its_own_twin(root: Path):
    organism = catalog.load(model("organism"), root)
    random = catalog.load(model("organism-random"), root)
    described = catalog.describe(catalog.find(model("organism-random"), root), model("organism-random"))
    assert random.info == described
    codes = organism.encode_text(["happy"])[0].hidden
    assert not (codes == random.encode_text(["happy"])[0].hidden).all()
    assert not (
        random.random_twin(0).encode_text(["happy"])[0].hidden == random.encode_text(["happy"])[0].hidden
    ).all()


@pytest.mark.parametrize(
    ("model_id", "advice"),
    [
        ("organsim", "Did you mean 'organism'?"),
        ("facebook/musicgen-smal", "Did you mean 'facebook/musicgen-small'?"),
        ("zzz", "Valid: organism, organism-memory"),
        ("", "Valid: organism"),
    ],
)
def test_unknown_id(root: Path, model_id: str, advice: str):
    with pytest.raises(UsageError) as caught:
        catalog.find(model(model_id), root)
    assert advice in one_line(caught.value)
    assert f"got {model_id!r}" in one_line(caught.value)


def test_embedded_model_not_in_the_clone(tmp_path: Path):
    with pytest.raises(ContractError, match="git checkout -- models"):
        catalog.find(model("organism"), tmp_path)


def test_hub_id_while_offline(root: Path, monkeypatch: pytest.MonkeyPatch):
    def unreachable(_repo: str, **_wanted: object) -> str:
        raise LocalEntryNotFoundError(
            "cannot find the files in the cache, outgoing traffic is disabled\nmore"
        )

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UsageError) as caught:
        catalog.find(model("facebook/musicgen-small"), root)
    line = one_line(caught.value)
    for part in ("facebook/musicgen-small must be cached or downloadable", "hf download", "local folder"):
        assert part in line


def test_hub_id_in_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch):
    folder = root / catalog.ORGANISM
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda _repo, **_wanted: str(folder))
    source = catalog.find(model("facebook/musicgen-small"), root)
    assert source.revision == folder.name


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def no_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 5) + b"hello")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def audiocraft_layout(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "state_dict.bin").write_bytes(b"pickle")


def configured(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        for key, value in changes.items():
            if key == "audio_channels":
                config["decoder"][key] = value
            else:
                config[key] = value
        path.write_text(json.dumps(config))

    return change


def broken_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def index_of_absent_shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        '{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}'
    )


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (remove("model.safetensors"), ContractError, "must hold model.safetensors"),
        (remove("config.json"), ContractError, "must hold config.json"),
        (remove("tokenizer.json"), ContractError, "must hold tokenizer.json or spiece.model"),
        (cut, ContractError, "as its header says"),
        (cut_in_the_header, ContractError, "hold its header"),
        (no_header, ContractError, "have a safetensors header"),
        (pickled, UsageError, "must be safetensors; got 'pytorch_model.bin'"),
        (audiocraft_layout, UsageError, "must be safetensors; got 'state_dict.bin'"),
        (configured(model_type="t5"), UsageError, "model_type must be musicgen or musicgen_melody; got 't5'"),
        (configured(decoder=None), UsageError, "model_type must be musicgen"),
        (configured(audio_channels=3), UsageError, "audio_channels must be 1 or 2; got 3"),
        (broken_json, ContractError, "config.json must be valid JSON"),
        (index_of_absent_shards, ContractError, "must hold model-00001-of-00002.safetensors"),
    ],
)
def test_damaged_folder(root: Path, damage: Callable[[Path], None], kind: type[MoodLensError], words: str):
    folder = root / catalog.ORGANISM / "shuffled"
    damage(folder)
    with pytest.raises(kind) as caught:
        catalog.find(model("organism-shuffled"), root)
    assert words in one_line(caught.value)
    assert catalog.find(model("organism"), root)  # the other model is as it was


def test_weights_that_do_not_fit_the_configuration(root: Path):
    path = root / catalog.ORGANISM / "config.json"
    config = json.loads(path.read_text())
    config["decoder"]["num_hidden_layers"] = 3
    path.write_text(json.dumps(config))
    with pytest.raises(ContractError, match=r"must have 3 layers, as decoder\.num_hidden_layers"):
        catalog.load(model("organism"), root)


def test_absent_device(root: Path):
    with pytest.raises(UsageError, match=r"Set model\.device to cpu"):
        catalog.load(model("organism", "tpu"), root)


def test_a_loaded_model_works(root: Path):
    backend = catalog.load(model("organism"), root)
    assert Capture().sites[0] + ".0" in backend.hookpoints()


def one_line(error: MoodLensError) -> str:
    line = str(error)
    assert "\n" not in line
    assert line.endswith((".", "?"))
    return line
