"""What the analysis stages cost on this workspace's data, and on four times as many clips.

Each stage runs as DVC runs it, one process after another, in a scratch copy of the workspace. The larger one
holds every shard four times, as further seeds of the same prompts: what grows with clips must show in it.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks.process_tree import Measured, measure

STAGES = ("signal", "probe", "null_text", "temporal", "attention", "geometry", "relate", "decide")
"""In an order that DVC may run them in: `decide` reads the metrics of the others."""
TIMES = 4
REPOSITORY = Path(__file__).resolve().parents[1]
BY_CLIP = ("clips.parquet", "acoustics.parquet", "reencoded/index.parquet", "reencoded/swaps.parquet")
"""Tables with a row, or several, per clip."""


@dataclass(frozen=True)
class Cost:
    """The analysis stages on one workspace."""

    n_clips: int
    stages: dict[str, Measured]

    @property
    def wall_s(self) -> float:
        return sum(cost.wall_s for cost in self.stages.values())

    @property
    def cpu_s(self) -> float:
        return sum(cost.cpu_s for cost in self.stages.values())

    @property
    def peak_gb(self) -> float:
        return max(cost.peak_gb for cost in self.stages.values())


def analysis_costs() -> tuple[Cost, Cost]:
    """Return the costs on the data as they are and on `TIMES` as many clips; a stage that fails ends it."""
    if not (REPOSITORY / "data" / "reencoded" / "index.parquet").is_file():
        sys.exit("error: data/ must hold a finished run; got none. Run `dvc repro` first")
    once, more = (_cost(times) for times in (1, TIMES))
    return once, more


def _cost(times: int) -> Cost:
    with TemporaryDirectory(prefix="moodlens-analysis-") as folder:
        root = Path(folder)
        n_clips = make_workspace(root, times)
        env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"}
        env |= {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
        measure([sys.executable, "-c", CONNECT], root, env)  # the database is made once, not by a stage
        found = {}
        for stage in STAGES:
            found[stage] = measure([sys.executable, "-m", "moodlens.stages", stage], root, env)
            if found[stage].exit_code != 0:
                sys.exit(f"{found[stage].output}\nerror: stage {stage} failed on {n_clips} clips")
        return Cost(n_clips, found)


CONNECT = "from pathlib import Path; from moodlens.store.tracking import connect; connect(Path())"


def make_workspace(root: Path, times: int) -> int:
    """Fill `root` with links to the data, every shard `times` times; return the number of clips."""
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "metrics").mkdir()
    source, target = REPOSITORY / "data", root / "data"
    n_shards = int(pd.read_parquet(source / "clips.parquet")["shard"].to_numpy().max()) + 1
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
        stem, _, number = path.stem.rpartition("-")
        if path.suffix == ".safetensors" and number.isdigit():
            for copy in range(1, times):
                further = f"{stem}-{int(number) + copy * n_shards:04d}{path.suffix}"
                place.with_name(further).symlink_to(path)
    for name in BY_CLIP if times > 1 else ():
        table = pd.read_parquet(source / name)
        (target / name).unlink()
        further_rows(table, times, n_shards).to_parquet(target / name)
    return times * len(pd.read_parquet(source / "clips.parquet"))


def further_rows(table: pd.DataFrame, times: int, n_shards: int) -> pd.DataFrame:
    """Return the rows and their copies: new clips, in further shards, of the same prompts."""
    parts = [table]
    for copy in range(1, times):
        moved = table.copy()
        for column in ("clip_id", "row_id"):
            if column in moved:
                moved[column] = moved[column].str.replace(r"-s(\d+)", rf"-s{copy}0\1", n=1, regex=True)
        if "seed" in moved:
            moved["seed"] += 100 * copy
        if "shard" in moved:
            moved["shard"] += copy * n_shards
        parts.append(moved)
    return pd.concat(parts, ignore_index=True)
