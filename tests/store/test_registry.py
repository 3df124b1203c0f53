"""Registered SAEs: the served arithmetic, a fresh process, a wrong width, the alias and its gate."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from moodlens.sae.catalog import ARCHITECTURES
from moodlens.store import registry
from moodlens.store.experiment import open_experiment
from moodlens.store.receipts import file_sha256
from moodlens.store.registry import ALIAS, Candidate, champion, judge, register_sae
from moodlens.store.sae_files import WEIGHTS, save_sae
from moodlens.store.served_sae import ServedSae
from moodlens.store.tracking import connect, tracking_uri
from tests.sae.planted import random_rows, random_sae

LOAD = """
import json, sys
import mlflow, numpy as np, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
x = np.load(sys.argv[3])
np.save(sys.argv[4], model.predict(x))
try:
    model.predict(x[:, :4])
except Exception as error:
    print(str(error).splitlines()[0])
rows = {
    "float16": x.astype(np.float16), "float64": x.astype(np.float64), "integers": np.ones((2, 6), np.int64),
    "a list": x.tolist(), "a table": pd.DataFrame(x),
    "named columns": pd.DataFrame(x, columns=list("abcdef")), "a view": np.asfortranarray(x),
}
for name, given in rows.items():
    want = model.predict(np.asarray(given, dtype=np.float32))
    assert np.array_equal(model.predict(given), want), name
bad = x.copy(); bad[3, 2] = np.nan
large, words = x * np.float64(1e300), pd.DataFrame(x).astype(str) + "x"
for wrong in (bad, large, words, [[1, 2], [3]], "text", x[0], None):
    try:
        model.predict(wrong)
        print("NOT REFUSED", type(wrong))
    except Exception as error:
        line = str(error)
        assert "\\n" not in line and len(line) < 200, line
print("moodlens" in sys.modules)
"""


def served(folder: Path) -> ServedSae:
    model = ServedSae()
    model.load_context(SimpleNamespace(artifacts={"sae": str(folder)}))
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_served_is_what_was_trained(architecture: str, tmp_path: Path):
    sae, x = random_sae(architecture), random_rows()
    save_sae(tmp_path / "sae", sae)
    latents = served(tmp_path / "sae").predict(None, x.numpy())
    with torch.inference_mode():
        np.testing.assert_allclose(latents, sae.encode(x).numpy(), atol=1e-5)


def test_a_wrong_width_is_one_clear_line(tmp_path: Path):
    save_sae(tmp_path / "sae", random_sae("topk"))
    with pytest.raises(
        ValueError, match=r"activations must have shape \(row, 6\); got \(2, 5\)\. Use the SAE"
    ):
        served(tmp_path / "sae").predict(None, np.zeros((2, 5), dtype=np.float32))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0.0] * 6, [float("nan")] * 6], "must be finite in float32; got 1 of 2 rows"),
        (np.full((1, 6), 1e300), "must be finite in float32; got 1 of 1 rows"),
        (np.full((1, 6), "loud"), "must be numbers of shape"),
        (np.ones((1, 6), dtype=bool), "must be numbers of shape"),
        ([[1.0], [1.0, 2.0]], "must be numbers of shape"),
        (None, "must be numbers of shape|must have shape"),
    ],
)
def test_values_that_are_no_activations_are_one_line_without_the_data(
    given: object, message: str, tmp_path: Path
):
    save_sae(tmp_path / "sae", random_sae("topk"))
    with pytest.raises(ValueError, match=message) as caught:
        served(tmp_path / "sae").predict(None, given)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def candidate(root: Path, run_id: str, model_id: str = "organism", card: str = "# A card") -> Candidate:
    return Candidate(model_id, "text", root / "sae", 6, 20, run_id, card, {"site": "text"})


def new_run(client: Any, uri: str) -> str:
    return client.create_run(open_experiment(client, uri)).info.run_id


def test_a_registered_sae_is_judged_and_loads_in_a_fresh_process(
    with_store: Callable[[Path], Path], tmp_path: Path
):
    root = with_store(tmp_path)
    sae, x = random_sae("topk"), random_rows()
    save_sae(root / "sae", sae)
    client, uri = connect(root), tracking_uri(root)
    run_id = new_run(client, uri)
    entry = register_sae(client, uri, candidate(root, run_id))
    assert (entry.model, entry.version) == ("moodlens-sae-organism-text", "1")
    version = client.get_model_version(entry.model, "1")
    assert registry.WEIGHTS == WEIGHTS
    assert (version.description, version.run_id) == ("# A card", run_id)
    assert version.tags["gate"] == "not yet judged"
    assert version.tags["weights.sha256"] == entry.content == file_sha256(root / "sae" / WEIGHTS)
    assert client.get_registered_model(entry.model).description.startswith("SAEs of text of organism.")
    assert client.get_run(run_id).data.tags["sae.version"] == "moodlens-sae-organism-text/1"
    assert champion(client, entry.model) is None

    assert not judge(client, entry, False, {"fvu": 0.1})
    assert champion(client, entry.model) is None
    assert judge(client, entry, True, {"fvu": 0.1})
    assert champion(client, entry.model) == "1"
    assert client.get_model_version(entry.model, "1").tags["gate"] == "passed"

    again = register_sae(client, uri, candidate(root, new_run(client, uri), card="# Another card"))
    assert again == entry, "the same weights are not registered twice"
    with torch.no_grad():
        sae.b_dec += 1
    save_sae(root / "sae", sae)
    second = register_sae(client, uri, candidate(root, new_run(client, uri)))
    assert second.version == "2"
    assert not judge(client, second, False, {"fvu": 0.9})
    assert champion(client, entry.model) == "1", "a version that failed leaves the champion"
    other = register_sae(client, uri, candidate(root, new_run(client, uri), "organism-shuffled"))
    assert (other.model, other.version) == ("moodlens-sae-organism-shuffled-text", "1")
    assert judge(client, other, True, {"fvu": 0.1})
    assert champion(client, entry.model) == "1", "the SAE of another model is no champion of this one"
    with torch.no_grad():
        sae.b_dec -= 1

    np.save(root / "x.npy", x.numpy())
    uri, out = f"models:/{entry.model}@{ALIAS}", root / "out.npy"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    argv = [sys.executable, "-c", LOAD, f"sqlite:///{root}/mlflow.db", uri, str(root / "x.npy"), str(out)]
    done = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with torch.inference_mode():
        np.testing.assert_allclose(np.load(out), sae.encode(x).numpy(), atol=1e-5)
    assert "NOT REFUSED" not in done.stdout
    message, imported = done.stdout.strip().splitlines()[-2:]
    assert message.startswith("activations must have shape (row, 6); got (50, 4).")
    assert imported == "False"

    (root / "x.json").write_text(json.dumps({"inputs": x.tolist()}))
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "predict", "-m", uri, "-t", "json"]
    command += ["-i", "x.json", "-o", "out.json", "--env-manager", "local"]
    env |= {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    predicted = json.loads((root / "out.json").read_text())["predictions"]
    np.testing.assert_allclose(predicted, np.load(out), atol=1e-6)

    stored = [path for path in (root / "mlartifacts").rglob("*") if path.is_file()]
    assert not [path.name for path in stored if path.suffix in (".pkl", ".pt", ".bin", ".pickle")]
    config = next(path for path in stored if path.name == "cfg.json")
    assert json.loads(config.read_text())["architecture"] == "topk"
