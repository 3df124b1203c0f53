"""Stages run in processes of their own that can be killed, on a small workspace with every dataset."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import yaml

from moodlens.params.pipeline import Params
from moodlens.stages import load_stage
from moodlens.stages.shell import run_stage
from moodlens.store.run_record import Record, write_record
from moodlens.store.stage_outputs import output_digests
from tests.stages.datasets import ROOT, small_params
from tests.stages.test_sae import open_gate, small
from tests.tiny_model import save_tiny_model

ORDER = (
    "prompts", "generate", "reencode", "embed", "acoustics", "check", "forks", "interchange", "sae",
    "latents",
)  # fmt: skip
"""The stages that are run; each starts from what those before it made."""
FOLDERS = ("generate", "reencode", "forks", "interchange", "sae", "latents")
PRELOADED = [
    "tests.stages.interrupted",
    *(f"moodlens.stages.{name}{'.stage' if name in FOLDERS else ''}" for name in ORDER),
]
TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir")
"""Events of Python at which a stage can be killed, where they name a file of the workspace."""


def params_of() -> Params:
    """Every stage at its smallest lawful size."""
    params = small(small_params(Path("model"), n_per_emotion=12))
    return replace(
        params,
        prompts=replace(params.prompts, emotions=("happy", "sad")),
        reencode=replace(params.reencode, n_draws=5),
        probe=replace(params.probe, n_folds=3),
        decide=replace(params.decide, alpha_strong=0.4, alpha_weak=0.9),
        forks=replace(
            params.forks, pairs=(("happy", "sad"),), n_seeds=1, steps_s=(0.04,), run_guidance_s=0,
            where_s=0, judged_s=0.5, rows_per_task=4, n_permutations=99,
        ),
        interchange=replace(
            params.interchange, pairs=(("happy", "sad"),), n_seeds=1, n_draws=2, n_windows=1, judged_s=0.5,
            n_permutations=99,
        ),
        latents=replace(params.latents, n_permutations=199, splice_clips=2, n_shown=4, null_text=False),
    )  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How the process of a stage ended."""

    status: int  # -9 if it was killed
    said: str  # on stderr
    seconds: float
    touches: int  # of files of the workspace; 0 if it was killed


def context() -> ForkServerContext:
    """Return the kind of process: forks of one that has imported the stages and has no threads."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    return found


def run(name: str, root: Path, *, kill_at_touch: int = 0, kill_after_s: float | None = None) -> Ended:
    """Run a stage as `python -m moodlens.stages` does, and kill it at a touch or after a time."""
    notes = root.with_name(f"{root.name}-notes")
    notes.mkdir(exist_ok=True)
    (notes / "touches").write_text("0")
    began = time.monotonic()
    process = context().Process(target=_run, args=(name, root, notes, kill_at_touch))
    process.start()
    process.join(kill_after_s)
    process.kill()
    process.join()
    seconds = time.monotonic() - began
    status = process.exitcode
    assert status is not None
    return Ended(status, (notes / "stderr").read_text(), seconds, int((notes / "touches").read_text()))


def _run(name: str, root: Path, notes: Path, kill_at: int) -> None:
    os.chdir(root)
    terminal = os.dup(2)
    os.dup2(os.open(notes / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    home, touched = f"{root}/", 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal touched
        if event in TOUCHES and isinstance(args[0], (str, os.PathLike)) and str(args[0]).startswith(home):
            touched += 1
            if touched == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    status = run_stage(name, lambda: load_stage(name))
    (notes / "touches").write_text(str(touched))
    sys.stderr.flush()
    os.dup2(terminal, 2)  # what the measuring of coverage says at the end is not of the stage
    sys.exit(status)


def digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that stages write, but the records of their runs, which hold times."""
    folders = ("data", "metrics", "models", "reports", ".cache")
    files = [path for name in folders for path in (root / name).rglob("*")]
    return {
        path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and path.parent.name != "runs"
    }


@dataclass(frozen=True)
class Undisturbed:
    """A stage that ran once."""

    start: Path  # workspace before it
    digests: dict[str, str]  # after it
    ended: Ended


def run_all(root: Path) -> dict[str, Undisturbed]:
    """Make a workspace in `root`, run every stage of ORDER in it, and return each by name."""
    save_tiny_model(root / "model")
    (root / ".git").mkdir()
    shutil.copy(ROOT / "dvc.yaml", root)
    (root / "params.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(asdict(params_of())))))
    open_gate(root)
    write_record(root, Record("decide", 0, 0, "", "", {}, (), outputs=output_digests(root, "decide")))
    found = {}
    for name in ORDER:
        start = shutil.copytree(root, root.with_name(f"before-{name}"))
        ended = run(name, root)
        assert ended.status == 0, f"{name}: {ended.said}"
        found[name] = Undisturbed(start, digests(root), ended)
    return found
