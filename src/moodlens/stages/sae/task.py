"""Training of one SAE, as a task of the `sae` stage: idempotent, and bit-equal when resumed after a kill."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from moodlens.base.errors import ContractError, must
from moodlens.params.pipeline import Sae as SaeParams
from moodlens.sae.catalog import config_for
from moodlens.sae.metrics import quality
from moodlens.sae.mixing import batches, survey
from moodlens.sae.model import SaeConfig
from moodlens.sae.plan import Plan, refuse_clash
from moodlens.sae.trainer import train
from moodlens.store.code_fingerprint import closure, path_of
from moodlens.store.receipts import code_digest, fingerprint, library_versions
from moodlens.store.sae_files import load_state, save_sae, save_state
from moodlens.workspace.design import open_workspace
from moodlens.workspace.sae_rows import open_rows

LOG_EVERY_S = 10.0
TOPK_FAMILY = ("topk", "batchtopk", "matryoshka")
PENALTIES = {"relu": "l1", "gated": "l1", "jumprelu": "l0"}


@dataclass(frozen=True)
class SaeTask:
    """Everything that determines one training, and the paths of its files."""

    root: Path
    section: SaeParams
    site: str
    number: int  # 0 is the first SAE of the site
    twin: bool  # on the untrained twin's activations
    threads: int

    @property
    def name(self) -> str:
        return "twin" if self.twin else f"seed-{self.number}"

    @property
    def folder(self) -> Path:
        """Folder of the SAE; the "/" of a site becomes "-"."""
        return self.root / "models" / "sae" / self.site.replace("/", "-") / self.name

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints. It is no DVC output, because DVC deletes the outputs of a killed stage."""
        return self.root / ".cache" / "sae"


@dataclass(frozen=True)
class TrainedSae:
    """Result of a finished task."""

    site: str
    name: str
    figures: dict[str, float]
    curve: list[dict[str, float]]


def config_of(section: SaeParams, d_in: int) -> SaeConfig:
    """Return the architecture's config for rows of width `d_in`.

    Raises:
        UsageError: k is above d_sae, or another setting is out of bounds.
    """
    settings: dict[str, float | int] = {"d_in": d_in, "d_sae": section.expansion * d_in}
    if section.architecture in TOPK_FAMILY:
        settings["k"] = section.k
    else:
        name = PENALTIES[section.architecture]
        settings[name] = getattr(section, name)
    return config_for(section.architecture, settings)


def plan_of(section: SaeParams, seed: int, n_rows: int) -> Plan:
    """Return the plan: as many epochs over `n_rows` rows as `n_steps` steps need.

    All rows are scaled by one factor to a mean norm of sqrt(d_in), so that learning rate and penalties have
    the same meaning at every site. Rows keep their relative lengths; the factor is folded into the weights.
    """
    steps_per_epoch = -(-n_rows // section.batch_rows)
    return Plan(
        seed=seed,
        n_epochs=max(1, -(-section.n_steps // steps_per_epoch)),
        batch_rows=section.batch_rows,
        buffer_rows=section.buffer_rows,
        learning_rate=section.learning_rate,
        warmup_steps=min(100, section.n_steps // 10),
        scale_input=True,
        revive=section.revive,
        patience_epochs=section.patience_epochs,
    )


def train_one(task: SaeTask) -> TrainedSae:
    """Train an SAE or resume its training, save it in SAELens format, and return the result.

    Raises:
        ContractError: there are too few rows, a row is not finite, or a split is empty.
        UsageError: settings conflict.
    """
    torch.set_num_threads(task.threads)
    rows = open_rows(open_workspace(task.root), task.site, task.twin)
    for split in ("train", "val", "test"):
        if split not in set(rows.texts["split"]):
            advice = "Add prompts: whole wordings are held out"
            raise ContractError(
                must(f"split {split} of {task.site}", "hold a text", "none", next_step=advice)
            )
    section, train_rows = task.section, rows.source("train")
    facts = survey(train_rows, 1, 0)
    config = config_of(section, facts.d_in)
    plan = plan_of(section, section.seed + task.number, facts.n_rows)
    refuse_clash(config, plan)
    checkpoint = task.checkpoints / f"{_fingerprint(task, facts.digest)}.safetensors"
    began_s = time.process_time()
    trained = train(
        config,
        train_rows,
        rows.source("val"),
        plan,
        resume=load_state(checkpoint),
        save=lambda state: save_state(checkpoint, state),
        log=_throttled(f"sae {task.site} {task.name}"),
    )
    cpu_s = time.process_time() - began_s
    on_train, on_test = (
        quality(trained.sae, batches(rows.source(split), facts.d_in, 4096)) for split in ("train", "test")
    )
    best = trained.curve[trained.best_epoch]
    figures = {
        "d_in": facts.d_in,
        "d_sae": config.d_sae,
        "n_rows": facts.n_rows,
        "n_rows_test": on_test.n_rows,
        "fvu": on_test.fvu,
        "fvu_train": on_train.fvu,
        "fvu_val": best["val_fvu"],
        "mse": on_test.mse,
        "mse_train": on_train.mse,
        "l0": on_test.l0,
        "dead": on_train.dead,
        "n_epochs": len(trained.curve),
        "rows_per_cpu_s": len(trained.curve) * facts.n_rows / max(cpu_s, 1e-9),
    }
    about = {"site": task.site, "name": task.name, "seed": plan.seed, "stage": "sae"}
    save_sae(task.folder, trained.sae, about, (on_train.n_fired, on_train.n_rows))
    return TrainedSae(task.site, task.name, figures, trained.curve)


def _fingerprint(task: SaeTask, digest: str) -> str:
    """Name of the checkpoint, which differs for other settings, rows, code or libraries."""
    source = task.root / "src"
    folder = source if (source / "moodlens").is_dir() else Path(__file__).parents[3]
    modules = closure("moodlens.sae.trainer", folder)
    parts = {
        "site": task.site,
        "name": task.name,
        "section": {
            k: v for k, v in vars(task.section).items() if k not in ("sites", "override_gate", "twin")
        },
        "rows": digest,
        "code": code_digest(path_of(name, folder) for name in modules),
        "libraries": library_versions(("torch", "numpy")),
        "threads": task.threads,
    }
    return fingerprint(parts)[:24]


def _throttled(label: str) -> Callable[[str], None]:
    """Return a function that prints lines of progress, at most one every LOG_EVERY_S seconds."""
    last_s = time.monotonic()

    def log(line: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if line.startswith("resumed") or now_s - last_s >= LOG_EVERY_S:
            last_s = now_s
            print(f"{label}: {line}", file=sys.stderr, flush=True)

    return log
