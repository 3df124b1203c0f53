"""A workspace on disk with planted emotion, measured by the real stages `signal`, `probe` and `decide`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import yaml

from moodlens.contracts.tables import ACOUSTICS, CLIPS, PROMPTS
from moodlens.contracts.tensors import shard_name
from moodlens.params.pipeline import Params, parse_params
from moodlens.stages import decide, probe, signal
from moodlens.store.shards import write_shard
from moodlens.store.tables import write_metrics, write_table
from tests.report.example import tables

ROOT = Path(__file__).parents[2]
N_LAYERS, D_MODEL = 3, 12


def small_params() -> Params:
    """Return the repository's parameters with few relabellings and resamples."""
    params = parse_params(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    sites = ("layers", "text", "bow", "acoustics", "tokens")
    return replace(
        params,
        signal=replace(params.signal, sites=sites, n_permutations=1999, n_bootstrap=100),
        probe=replace(params.probe, sites=sites, n_permutations=1999, n_bootstrap=100, n_folds=3),
    )


def write_workspace(root: Path) -> Params:
    """Write prompts, clips, audio, codes, activations and embeddings in which emotion is planted."""
    prompts, clips, acoustics = tables(n_prompts=6)
    data = root / "data"
    write_table(prompts, PROMPTS, data / "prompts.csv")
    write_table(clips, CLIPS, data / "clips.parquet")
    write_table(acoustics, ACOUSTICS, data / "acoustics.parquet")
    rng = np.random.default_rng(3)
    of_prompt = np.unique(prompts["emotion"], return_inverse=True)[1]
    of_clip = np.repeat(of_prompt, 2)
    centres = 3 * rng.standard_normal((4, D_MODEL))
    summary = {}
    for layer in range(N_LAYERS):
        noise = rng.standard_normal((len(clips), D_MODEL))
        planted = (layer + 1) / N_LAYERS * centres[of_clip]
        summary[f"residual.{layer}/cond/mean"] = (noise + planted).astype(np.float32)
        summary[f"twin/residual.{layer}/cond/mean"] = noise[::-1].astype(np.float32)
    write_shard(data / "activations" / shard_name("summary", 0), summary)
    codes = rng.integers(0, 8, (len(clips), 4, 50)) + 8 * of_clip[:, None, None]
    write_shard(data / "codes" / shard_name("shard", 0), {"codes": codes.astype(np.int16)})
    embeddings = {
        name: (rng.standard_normal((len(prompts), D_MODEL)) + weight * centres[of_prompt]).astype(np.float32)
        for name, weight in (("text", 1.0), ("projected", 1.0), ("twin", 0.0), ("bow", 0.2))
    }
    write_shard(data / "embeddings" / "embeddings.safetensors", embeddings)
    (data / "audio").mkdir()
    time_s = np.arange(16000) / 16000
    for path in clips["audio_path"]:
        soundfile.write(data / path, 0.3 * np.sin(2 * np.pi * 220 * time_s) * (1 - time_s), 16000)
    return small_params()


def measure(params: Params, root: Path) -> None:
    """Run signal, probe and decide on the workspace; write what generate and check say."""
    for stage in (signal, probe):
        stage.run(params, root)
    decide.run(params, root)
    generated = {
        "n_steps": 53,
        "layers": list(range(N_LAYERS)),
        "d_model": D_MODEL,
        "weights_sha256": "ab" * 32,
    }
    write_metrics(generated, root / "metrics" / "generate.json")
    suite = {"success": True, "n_expectations": 9, "n_failed": 0, "n_rows": 24}
    write_metrics({"success": True, "suites": {"prompts": suite}}, root / "metrics" / "check.json")
    (root / "reports" / "checks").mkdir(parents=True)
    (root / "reports" / "checks" / "prompts.html").write_text("<p>fine</p>", encoding="utf-8")
