"""The stage on the tiny model: what it stores, that it resumes, and that its self-tests can fail."""

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.errors import ContractError, MoodLensError, UsageError
from moodlens.codes.delay import apply_delay
from moodlens.contracts import tensors
from moodlens.contracts.backend import Capture
from moodlens.contracts.tables import CLIPS, PROMPTS, REENCODED, SWAPS
from moodlens.contracts.tensors import CONDITIONS, LEAKS, MEMORIES, MODELS, NETWORKS
from moodlens.params.pipeline import Params
from moodlens.stages.generate import stage as generate
from moodlens.stages.reencode import shard
from moodlens.stages.reencode import stage as reencode
from moodlens.stages.reencode.recurrent import recurrent_states, vectors_of
from moodlens.store.shards import read_shard, shard_metadata, write_shard
from moodlens.store.tables import read_metrics, read_table
from tests.stages.datasets import small_params
from tests.stages.prompted import write_prompts
from tests.tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    root = tmp_path_factory.mktemp("made")
    params = small_params(save_tiny_model(root / "model"))
    write_prompts(params, root)
    for stage in (generate, reencode):
        stage.run(params, root)
    return root, params


@pytest.fixture
def workspace(made: tuple[Path, Params], tmp_path: Path) -> tuple[Path, Params]:
    """A copy that a test may break; nothing loaded before counts."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    shard.loaded.cache_clear()
    return tmp_path, made[1]


def digests(root: Path) -> dict[str, str]:
    files = sorted((root / "data" / "reencoded").iterdir())
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_reading_is_stored_and_is_what_teacher_forcing_gives(made: tuple[Path, Params]):
    root, params = made
    folder = root / "data" / "reencoded"
    index, swaps = (
        read_table(REENCODED, folder / "index.parquet"),
        read_table(SWAPS, folder / "swaps.parquet"),
    )
    assert len(index) == 12 * len(MODELS) * len(CONDITIONS) * 2
    clips, texts = (
        read_table(CLIPS, root / "data/clips.parquet"),
        read_table(PROMPTS, root / "data/prompts.csv"),
    )
    text_of = texts.set_index("prompt_id")["text"]
    stored = read_shard(folder / "summary-0001.safetensors")
    steps = shard_metadata(folder / "summary-0001.safetensors")["steps"]
    assert steps == [3, 16, 29]
    codes = read_shard(root / "data/codes/shard-0001.safetensors")["codes"]
    backend = catalog.load(params.model, root)
    row = clips[(clips["shard"] == 1) & (clips["row"] == 2)].iloc[0]
    given = swaps.set_index("clip_id").loc[row["clip_id"], "swapped_prompt_id"]
    said = {"own": text_of[row["prompt_id"]], "null": None, "swapped": text_of[given]}
    for name, model in zip(MODELS, (backend, backend.random_twin(0), backend.random_decoder(0)), strict=True):
        for condition, text in said.items():
            states = model.teacher_force(codes[2:3], [text], Capture()).values["residual.1/cond"][0]
            kept = stored[f"{name}/{condition}/residual.1/steps"][2]
            assert kept.dtype == np.float16
            np.testing.assert_allclose(kept, states[steps], rtol=2e-3, atol=2e-3)
            mean = stored[f"{name}/{condition}/residual.1/mean"][2]
            np.testing.assert_allclose(mean, states[3:30].mean(axis=0), rtol=2e-3, atol=2e-3)


def test_untrained_decoders_are_stored_with_the_memories_that_their_names_say(made: tuple[Path, Params]):
    """The recursion, step by step, on decoders made here."""
    root, params = made
    backend = catalog.load(params.model, root)
    codes = read_shard(root / "data/codes/shard-0001.safetensors")["codes"][2:3]
    decoders = [backend.random_twin(0), *(backend.random_decoder(seed) for seed in range(4))]
    digests = set()
    for draw, decoder in enumerate(decoders):
        path = root / "data" / "reencoded" / f"memory-{draw}-0001.safetensors"
        stored = read_shard(path)
        digests.add(path.read_bytes())
        assert set(stored) == {"residual.0", "residual.1"}
        states = decoder.teacher_force(codes, [None], Capture()).values["residual.1/cond"][0]
        kept = stored["residual.1"][2].astype(np.float64)
        assert kept.shape == (len(MEMORIES), 3, states.shape[1])
        np.testing.assert_allclose(kept[0], states[[3, 16, 29]], rtol=2e-3, atol=2e-3)
        means = [states[: step + 1].mean(axis=0) for step in (3, 16, 29)]
        np.testing.assert_allclose(kept[1], means, rtol=2e-3, atol=2e-3)
        for leak, memory in zip(LEAKS, kept[2:], strict=True):
            value, at = 0.0, {}
            for step, state in enumerate(states):
                value = leak * value + (1 - leak) * state
                at[step] = value
            np.testing.assert_allclose(memory, [at[3], at[16], at[29]], rtol=2e-3, atol=2e-3)
    assert len(digests) == 5


def test_the_recurrent_reader_knows_no_future_and_differs_by_its_training_alone(made: tuple[Path, Params]):
    root, params = made
    backend = catalog.load(params.model, root)
    size, units = backend.info.codebook_size, backend.info.d_model
    codes = torch.from_numpy(read_shard(root / "data/codes/shard-0001.safetensors")["codes"].astype(np.int64))
    columns, vectors = apply_delay(codes, size), vectors_of(backend)
    assert np.all(vectors[:, size] == 0)
    own = backend.token_vectors(codes[:1, :, :1].numpy().astype(np.int16))[0, :, 0]
    ratio = vectors[np.arange(4), codes[0, :, 0].numpy()] / own
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
    stored = read_shard(root / "data" / "reencoded" / "recurrent-0001.safetensors")
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: (4, len(MEMORIES), 3, units) for name in NETWORKS
    }
    later = columns.clone()
    later[:, :, 17:] = 0
    before, after = recurrent_states([columns, later], vectors, units, 8)
    for states in (before, after):
        np.testing.assert_array_equal(states[0][:, :17], states[1][:, :17])
        assert np.abs(states[0][:, 18:] - states[1][:, 18:]).max() > 1e-3
    np.testing.assert_allclose(stored["echo"][:, 0], before[0][:, [3, 16, 29]], rtol=2e-3, atol=2e-3)
    assert np.abs(after[0] - before[0]).max() > 1e-3


def test_training_the_recurrent_reader_teaches_it_to_predict():
    """Each token names the next one: a linear reading of trained states misses less of it."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 8, size=(32, 1, 1))
    codes = (starts + np.arange(40)) % 8
    columns = apply_delay(torch.from_numpy(np.repeat(codes, 2, axis=1)), 8)
    vectors = np.pad(rng.normal(size=(2, 8, 3)), ((0, 0), (0, 1), (0, 0)))
    before, after = recurrent_states([columns], vectors, 6, 400)
    target = np.eye(8)[columns[:, 0, 1:41].numpy()].reshape(-1, 8)

    def unexplained(states: np.ndarray) -> float:
        rows = np.column_stack([states[:, :40].reshape(-1, 6), np.ones(len(target))])
        return float(np.square(target - rows @ np.linalg.lstsq(rows, target)[0]).sum())

    assert unexplained(after[0]) < 0.9 * unexplained(before[0])


def test_the_self_tests_are_in_the_metrics(made: tuple[Path, Params]):
    found = read_metrics(made[0] / "metrics" / "reencode.json")
    assert found["null_difference"] == found["patch_difference"] == 0
    assert 0 <= found["forced_difference"] < 1e-4
    assert found["n_states_compared"] == 12 * 2 * 33 * 32
    assert found["n_draws"] == 5
    assert found["n_passes"] == 12 * (9 + 3)


def test_finished_shards_are_kept_and_a_lost_one_comes_back_with_the_same_bytes(workspace):
    root, params = workspace
    before = digests(root)
    lost, kept = (root / "data" / "reencoded" / f"summary-000{n}.safetensors" for n in (1, 2))
    lost.unlink()
    time = kept.stat().st_mtime_ns
    reencode.run(params, root)
    assert digests(root) == before
    assert kept.stat().st_mtime_ns == time


def test_a_further_decoder_leaves_the_finished_shards_and_decoders_alone(workspace):
    root, params = workspace
    before = digests(root)
    reencode.run(replace(params, reencode=replace(params.reencode, n_draws=6)), root)
    after = digests(root)
    assert {name for name in after if name not in before} == {
        f"{name}-000{shard}.{kind}"
        for shard in range(3)
        for name, kind in (("memory-5", "safetensors"), ("receipt-memory-5", "json"))
    }
    changed = {name for name, digest in before.items() if after[name] != digest}
    assert changed == {"manifest.json"}


def test_another_swap_seed_makes_other_shards_and_strangers_go(workspace):
    root, params = workspace
    before = digests(root)
    (root / "data" / "reencoded" / "memory-7-0000.safetensors").write_bytes(b"left over")
    (root / "data" / "reencoded" / "summary-0009.safetensors").write_bytes(b"left over")
    reencode.run(replace(params, reencode=replace(params.reencode, swap_seed=1)), root)
    after = digests(root)
    assert set(after) == set(before)
    assert after["summary-0000.safetensors"] != before["summary-0000.safetensors"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def short(path: Path) -> None:
    write_shard(path, {"codes": read_shard(path)["codes"][:, :, :9]})


def fewer(path: Path) -> None:
    write_shard(path, {"codes": read_shard(path)["codes"][:2]})


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut, "must be a whole safetensors file"),
        (short, r"must hold 4 clips of 30 frames; got \(4, 4, 9\)"),
        (fewer, r"must hold 4 clips of 30 frames; got \(2, 4, 30\)"),
        (Path.unlink, "must exist; got 'nothing'"),
    ],
)
def test_damaged_codes_are_one_line(workspace, damage, line: str):
    root, params = workspace
    damage(root / "data" / "codes" / "shard-0002.safetensors")
    with pytest.raises(ContractError, match=rf"shard .*codes/shard-0002\.safetensors {line}") as caught:
        reencode.run(params, root)
    assert "\n" not in str(caught.value)


def changed_states(root: Path, params: Params, _patch: pytest.MonkeyPatch) -> Params:
    """A state of generation that teacher forcing does not give again."""
    path = root / "data" / "activations" / "shard-0001.safetensors"
    states = read_shard(path)
    states["residual.1/cond"][1, 20, 3] += 1
    write_shard(path, states)
    return again(params)


def leaking_null(_root: Path, params: Params, patch: pytest.MonkeyPatch) -> Params:
    """A model whose null half sees the text."""
    forced = MusicgenBackend.teacher_force

    def leak(self, codes, texts, capture, patches=()):
        found = forced(self, codes, texts, capture, patches)
        for key in found.values:
            if key.endswith("/uncond"):
                found.values[key] += len(texts[0] or "") * 1e-6
        return found

    patch.setattr(MusicgenBackend, "teacher_force", leak)
    return again(params)


def lossy_patch(_root: Path, params: Params, patch: pytest.MonkeyPatch) -> Params:
    """An edit that does not write what it was given."""
    from moodlens.backends.edits import _Writer

    written = _Writer.apply
    patch.setattr(_Writer, "apply", lambda self, states: written(self, states) * (1 + 1e-6))
    return again(params)


def lost_layer(root: Path, params: Params, _patch: pytest.MonkeyPatch) -> Params:
    """Layers missing from the shard of generation: none is left to compare."""
    path = root / "data" / "activations" / "shard-0000.safetensors"
    write_shard(path, {"mlp.0/cond": next(iter(read_shard(path).values()))})
    return again(params)


def again(params: Params) -> Params:
    """Parameters under which no shard counts as finished."""
    return replace(params, reencode=replace(params.reencode, swap_seed=7))


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (
            changed_states,
            r"states under own text must equal those of generation; got 'a difference of .* 1, all",
        ),
        (leaking_null, "states under null text must not depend on the text beside them"),
        (lossy_patch, "an identity patch must change nothing"),
        (lost_layer, r"reencode\.sites must share a hookpoint with generate\.sites"),
    ],
)
def test_a_self_test_that_fails_stops_the_stage(workspace, monkeypatch, break_it, line: str):
    root, params = workspace
    changed = break_it(root, params, monkeypatch)
    with pytest.raises(MoodLensError, match=line) as caught:
        reencode.run(changed, root)
    assert "\n" not in str(caught.value)


def test_more_steps_than_a_clip_has_and_another_model_are_refused(workspace):
    root, params = workspace
    with pytest.raises(UsageError, match=r"reencode\.n_steps must be at most 27"):
        reencode.run(replace(params, reencode=replace(params.reencode, n_steps=28)), root)
    other = save_tiny_model(root / "other", seed=1)
    with pytest.raises(ContractError, match=r"model\.id must be the model that made the clips"):
        reencode.run(replace(params, model=replace(params.model, id=str(other))), root)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_differ_by_their_rounding_and_another_step_by_more(tmp_path: Path, dtype: str):
    params = small_params(save_tiny_model(tmp_path / "model"))
    params = replace(params, model=replace(params.model, dtype=dtype))
    write_prompts(params, tmp_path)
    for stage in (generate, reencode):
        stage.run(params, tmp_path)
    found = read_metrics(tmp_path / "metrics" / "reencode.json")["forced_difference"]
    unit = tensors.ROUNDING[dtype]
    assert found <= tensors.N_ROUNDINGS * unit
    path = tmp_path / "data" / "activations" / "shard-0000.safetensors"
    states = read_shard(path)
    write_shard(path, {key: np.roll(values, 1, axis=1) for key, values in states.items()})
    with pytest.raises(ContractError, match=f"allowed {tensors.N_ROUNDINGS * unit:.3g}"):
        reencode.run(again(params), tmp_path)
