"""SAE folders and checkpoints on disk: round trips, kill -9, pickles and damage refused."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moodlens.base.errors import ContractError
from moodlens.sae.catalog import ARCHITECTURES
from moodlens.sae.state import State
from moodlens.store.sae_files import CONFIG, SPARSITY, WEIGHTS, load_sae, load_state, save_sae, save_state
from tests.sae.planted import random_rows, random_sae

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_saved_is_loaded(architecture: str, tmp_path: Path):
    sae, x = random_sae(architecture), random_rows()
    save_sae(tmp_path / "sae", sae, {"hookpoint": "residual.3"}, (torch.arange(20), 100))
    assert sorted(path.name for path in (tmp_path / "sae").iterdir()) == [CONFIG, WEIGHTS, SPARSITY]
    assert torch.equal(load_sae(tmp_path / "sae").encode(x), sae.encode(x))
    config = json.loads((tmp_path / "sae" / CONFIG).read_text())
    assert config["metadata"]["moodlens"]["hookpoint"] == "residual.3"
    assert load_file(tmp_path / "sae" / SPARSITY)["sparsity"].shape == (20,)
    first = {path.name: path.read_bytes() for path in (tmp_path / "sae").iterdir()}
    save_sae(tmp_path / "sae", sae, {"hookpoint": "residual.3"}, (torch.arange(20), 100))
    assert {path.name: path.read_bytes() for path in (tmp_path / "sae").iterdir()} == first


def test_half_precision_weights_are_read(tmp_path: Path):
    from safetensors.torch import save_file

    save_sae(tmp_path, random_sae("topk"))
    save_file({name: t.bfloat16() for name, t in load_file(tmp_path / WEIGHTS).items()}, tmp_path / WEIGHTS)
    assert load_sae(tmp_path).W_enc.dtype == torch.float32


class Trap:
    """A pickle that would leave a file behind if anybody read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_unread(tmp_path: Path):
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    folder = tmp_path / "sae"
    save_sae(folder, random_sae("topk"))
    (folder / WEIGHTS).rename(folder / "sae_weights.pt")
    (folder / "sae_weights.pt").write_bytes(trap)
    with pytest.raises(
        ContractError, match=r"must hold sae_weights.safetensors; got 'sae_weights.pt, a pickle'"
    ):
        load_sae(folder)
    (folder / WEIGHTS).write_bytes(trap)  # a pickle under the right name
    with pytest.raises(ContractError, match=r"must be a whole safetensors file; got "):
        load_sae(folder)
    with pytest.raises(ContractError, match=r"must be a folder with safetensors; got 'a pickle'"):
        load_sae(folder / "sae_weights.pt")
    assert not (tmp_path / "sprung").exists()


def test_missing_and_damaged_folders(tmp_path: Path):
    with pytest.raises(ContractError, match=r"must hold sae_weights.safetensors; got 'nothing'"):
        load_sae(tmp_path / "absent")
    save_sae(tmp_path / "sae", random_sae("topk"))
    (tmp_path / "sae" / CONFIG).write_text("[1]")
    with pytest.raises(ContractError, match=r"cfg.json must be a JSON object; got 'not a JSON object'"):
        load_sae(tmp_path / "sae")
    (tmp_path / "sae" / CONFIG).unlink()
    with pytest.raises(
        ContractError, match=r"cfg.json must be a JSON object; got 'No such file or directory'"
    ):
        load_sae(tmp_path / "sae")
    save_sae(tmp_path / "sae", random_sae("topk"))
    whole = (tmp_path / "sae" / WEIGHTS).read_bytes()
    (tmp_path / "sae" / WEIGHTS).write_bytes(whole[:-40])
    with pytest.raises(ContractError, match=r"sae_weights.safetensors must be a whole safetensors file"):
        load_sae(tmp_path / "sae")


def test_states_round_trip_and_strangers_are_refused(tmp_path: Path):
    path = tmp_path / "state.safetensors"
    assert load_state(path) is None
    about = {"recipe": {"plan.seed": 1}, "counters": {"loss_sum": 0.1 + 0.2}}
    state = State({"a": torch.arange(3), "step": torch.tensor(2.0)}, about)
    save_state(path, state)
    loaded = load_state(path)
    assert loaded is not None
    assert loaded.about == state.about
    assert {name: t.tolist() for name, t in loaded.tensors.items()} == {"a": [0, 1, 2], "step": 2.0}
    save_sae(tmp_path / "sae", random_sae("topk"))
    with pytest.raises(ContractError, match=r"must be a checkpoint of an SAE; got \[\]"):
        load_state(tmp_path / "sae" / WEIGHTS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContractError, match=r"must be a whole safetensors file"):
        load_state(path)


def test_a_flipped_bit_of_weights_or_checkpoint_is_refused(tmp_path: Path):
    save_sae(tmp_path, random_sae("topk"))
    state = tmp_path / "state.safetensors"
    save_state(state, State({"a": torch.arange(3)}, {"recipe": {}, "counters": {}}))
    for path, load in ((tmp_path / WEIGHTS, lambda: load_sae(tmp_path)), (state, lambda: load_state(state))):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ContractError, match="with another checksum"):
            load()


TRAINING = """
    import sys, time
    from pathlib import Path
    import torch
    from moodlens.sae.catalog import config_for
    from moodlens.sae.plan import Plan
    from moodlens.sae.trainer import train
    from moodlens.store.sae_files import load_state, save_sae, save_state
    from tests.sae.planted import planted
    torch.set_num_threads(1)
    folder, pause_s = Path(sys.argv[1]), float(sys.argv[2])
    data = planted(1200)
    def keep(state):
        save_state(folder / "state.safetensors", state)
        time.sleep(pause_s)
    plan = Plan(n_epochs=4, batch_rows=100, buffer_rows=500, warmup_steps=5, save_every_steps=3)
    trained = train(config_for("batchtopk", {"d_in": 64, "d_sae": 128, "k": 3}), data.source(0, 1000),
        data.source(1000, 1200), plan, resume=load_state(folder / "state.safetensors"), save=keep, log=print)
    save_sae(folder / "sae", trained.sae)
"""


def start_training(folder: Path, pause_s: float) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", textwrap.dedent(TRAINING), str(folder), str(pause_s)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


def test_training_killed_by_sigkill_ends_in_the_same_bytes(tmp_path: Path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    undisturbed = start_training(whole, 0)
    undisturbed.communicate(timeout=120)
    victim = start_training(killed, 0.2)
    deadline_s = time.monotonic() + 120
    while not (killed / "state.safetensors").is_file() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.5)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert not (killed / "sae").exists()
    resumed = start_training(killed, 0)
    output, _ = resumed.communicate(timeout=120)
    assert output.startswith("resumed at step ")
    assert (resumed.returncode, undisturbed.returncode) == (0, 0)
    for name in (f"sae/{WEIGHTS}", f"sae/{CONFIG}", "state.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
