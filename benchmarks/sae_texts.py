"""The text SAE's held-out MSE against its training MSE: by number of training texts, and by k.

Reads the rows of the last `dvc repro sae`. Every training has the settings of params.yaml except the one that
is varied, the same validation and test wordings, and nested subsets of the training texts. MSE is per
dimension; FVU is MSE in units of the site's variance. There is no bar: the figures are for docs/sae.md.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from moodlens.params.pipeline import Sae as SaeParams
from moodlens.sae.metrics import Quality, quality
from moodlens.sae.mixing import batches
from moodlens.sae.trainer import train
from moodlens.stages.sae.task import config_of, plan_of
from moodlens.stages.shell import load_params
from moodlens.workspace.design import open_workspace
from moodlens.workspace.sae_rows import open_rows

ROOT = Path(__file__).resolve().parents[1]
SHARES = (0.125, 0.25, 0.5, 1.0)
KS = (16, 32, 50, 100)


def one_training(section: SaeParams, parts: dict[str, np.ndarray]) -> tuple[Quality, Quality]:
    """Return the quality on the training and on the test rows."""
    rows = parts["train"]
    config = config_of(section, rows.shape[1])
    plan = plan_of(section, section.seed, len(rows))
    trained = train(config, lambda: [rows], lambda: [parts["val"]], plan)
    seen, held_out = (
        quality(trained.sae, batches(lambda part=parts[name]: [part], rows.shape[1], 4096))
        for name in ("train", "test")
    )
    return seen, held_out


def main() -> None:
    """Print both curves."""
    torch.set_num_threads(1)
    section = load_params(ROOT).sae
    site = open_rows(open_workspace(ROOT), "text")
    blocks = list(site.blocks())
    values, owner = np.concatenate([b.values for b in blocks]), np.concatenate([b.texts for b in blocks])
    split = site.texts["split"].to_numpy()
    parts = {name: values[split[owner] == name] for name in ("train", "val", "test")}
    order = np.random.default_rng(0).permutation(np.flatnonzero(split == "train"))
    known = {row.tobytes() for row in parts["train"]}
    n_known = sum(row.tobytes() in known for row in parts["test"])
    print(f"text, variance per dimension {values.var(0).mean():.3f}, {len(parts['test'])} test rows;")
    print(f"{n_known} of them are rows of the training texts too")
    print(f"{'texts':>6}{'rows':>7}{'d_sae':>7}{'k':>5}{'MSE train':>11}{'MSE test':>10}{'FVU test':>10}")
    curve = []
    for varied, value in [("share", share) for share in SHARES] + [("k", k) for k in KS[1:]]:
        texts = order[: round((value if varied == "share" else 1.0) * len(order))]
        changed = replace(section, k=value) if varied == "k" else section
        rows = values[np.isin(owner, texts)]
        seen, held_out = one_training(changed, parts | {"train": rows})
        line = f"{len(texts):>6}{len(rows):>7}{len(seen.n_fired):>7}{changed.k:>5}{seen.mse:>11.4f}"
        print(f"{line}{held_out.mse:>10.4f}{held_out.fvu:>10.4f}", flush=True)
        curve.append([len(texts), changed.k, round(held_out.mse, 4)])
    print(
        json.dumps(
            {"name": "sae_texts", "value": curve[3][2], "unit": "MSE held out", "bar": "none", "holds": True}
            | {"texts_k_mse": curve}
        )
    )


if __name__ == "__main__":
    main()
