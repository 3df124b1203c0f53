"""Relabellings beside scikit-bio and scikit-learn, and analysis stages: `python -m benchmarks.statistics`.

Same machine, same run, one thread each, CPU time, the fastest of interleaved rounds. Ours goes from Gram
matrices to the p of every layer, relabelling included; scikit-bio's PERMANOVA runs its default engine on
ready distance matrices, one layer with 999 relabellings, scaled to 48 layers with 9,999. The probes start
from the same activations; `permutation_test_score` runs a few relabellings of one layer, scaled likewise.

The stages read the finished run in data/ (`benchmarks.analysis`), and four times as many clips of it.
"""

import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from skbio.stats.distance import DistanceMatrix, permanova
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, permutation_test_score

from benchmarks.analysis import TIMES, Cost, analysis_costs
from moodlens.probes import kernel_ridge
from moodlens.probes.folds import group_folds
from moodlens.stats import permanova as lookup
from moodlens.stats.gram import centred
from moodlens.stats.multiplicity import max_p
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings

N_LAYERS, N_PERMUTATIONS, N_CLASSES, WIDTH = 48, 9_999, 4, 256
SCIKIT_BIO_PERMUTATIONS, SCIKIT_LEARN_PERMUTATIONS = 999, 9
PROBE_PROMPTS, PROBE_FOLDS, PROBE_PERMUTATIONS = 64, 8, 2_000
ROUNDS = 3
STAGES_S, PEAK_GB, FLAT = 60.0, 2.0, 1.25
"""All analysis stages together, wall; their largest resident set; its growth with four times the clips."""
BARS = {"permanova_100": 100.0, "permanova_500": 15.0, "probe": 1_000.0}


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def fastest(*works: Callable[[], object]) -> list[float]:
    """Return each work's fastest CPU time over interleaved rounds."""
    rounds = [[cpu_s(work) for work in works] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def peak_mb(work: Callable[[], object]) -> float:
    """Return the most memory that numpy holds during one call, beyond its inputs."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def gemm_gflops() -> float:
    """Return this thread's float32 matrix speed on blocks as PERMANOVA multiplies them."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((N_LAYERS, 4096), dtype=np.float32)
    b = rng.standard_normal((4096, 256), dtype=np.float32)
    (seconds,) = fastest(lambda: [a @ b for _ in range(40)])
    return 40 * 2 * a.size * b.shape[1] / seconds / 1e9


def table_gflops() -> float:
    """Return this thread's float32 additions per second on rows as `stats.permanova` adds them, in 1e9."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1024, N_LAYERS), dtype=np.float32)
    total = np.zeros_like(rows)
    (seconds,) = fastest(lambda: [np.add(total, rows, out=total) for _ in range(2000)])
    return 2000 * rows.size / seconds / 1e9


def data(n: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(n)
    return rng.normal(size=(N_LAYERS, n, WIDTH)), np.repeat(np.arange(N_CLASSES), n // N_CLASSES), rng


def permanova_row(n: int, gflops: float, additions: float) -> dict[str, float]:
    """Return the times of both PERMANOVAs at n prompts, the floor and the peak memory of ours."""
    rows, labels, rng = data(n)
    grams = centred(rows @ rows.transpose(0, 2, 1))

    def ours() -> object:
        return p_values(pseudo_f(grams, relabellings(labels, N_PERMUTATIONS, rng)))

    diagonal = np.diag(grams[0])
    squares = (diagonal[:, None] + diagonal) - (grams[0] + grams[0].T)
    np.fill_diagonal(squares, 0)
    distances = DistanceMatrix(np.sqrt(np.maximum(squares, 0)))
    names = labels.astype(str)

    def theirs() -> object:
        return permanova(distances, names, permutations=SCIKIT_BIO_PERMUTATIONS)

    mine, other = fastest(ours, theirs)
    other *= N_LAYERS * (N_PERMUTATIONS + 1) / (SCIKIT_BIO_PERMUTATIONS + 1)
    f = pseudo_f(grams[:1], labels[None].astype(np.int8)).item()
    reference = permanova(distances, names, permutations=0)["test statistic"]
    assert abs(f / reference - 1) < 1e-5, "both compute the same F"
    n_pairs = n * (n - 1) / 2
    looked_up = N_LAYERS * (N_PERMUTATIONS + 1) * n_pairs / lookup.BITS
    return {
        "ours_s": mine,
        "theirs_s": other,
        "floor_s": looked_up / additions / 1e9,
        "product_s": 2 * N_LAYERS * (N_PERMUTATIONS + 1) * n_pairs / gflops / 1e9,
        "peak_mb": peak_mb(ours),
    }


def probe_row(gflops: float) -> dict[str, float]:
    """Return the times of the probes: ours per family, scikit-learn's scaled to it."""
    rows, labels, rng = data(PROBE_PROMPTS)
    folds = group_folds(np.arange(PROBE_PROMPTS), PROBE_FOLDS, rng)

    def ours() -> object:
        grams = rows @ rows.transpose(0, 2, 1)
        table = relabellings(labels, PROBE_PERMUTATIONS, rng)
        hats = kernel_ridge.hats_of(centred(grams), folds, 0.1)
        return max_p(kernel_ridge.accuracies(kernel_ridge.predictions(hats, table), table))

    cv = list(GroupKFold(PROBE_FOLDS).split(rows[0], labels, folds))

    def run(model: object) -> object:
        few, scoring = SCIKIT_LEARN_PERMUTATIONS, "accuracy"  # groups of equal size
        return permutation_test_score(model, rows[0], labels, cv=cv, n_permutations=few, scoring=scoring)

    mine, by_ridge, by_logistic = fastest(
        ours, lambda: run(RidgeClassifier(alpha=0.1 * WIDTH)), lambda: run(LogisticRegression(max_iter=1000))
    )
    scale = N_LAYERS * (PROBE_PERMUTATIONS + 1) / (SCIKIT_LEARN_PERMUTATIONS + 1)
    train = PROBE_PROMPTS - PROBE_PROMPTS // PROBE_FOLDS
    flop = 2 * N_LAYERS * (PROBE_PERMUTATIONS + 1) * PROBE_FOLDS * PROBE_PROMPTS * train * N_CLASSES
    return {
        "ours_s": mine,
        "theirs_s": by_ridge * scale,
        "logistic_s": by_logistic * scale,
        "floor_s": flop / (gflops / 2) / 1e9,  # float64
        "peak_mb": peak_mb(ours),
    }


def stage_lines(once: Cost, more: Cost) -> list[str]:
    """Return the table of the stages: wall, CPU and peak memory, and peak memory with more clips."""
    head = f"{'stage':<34}{'wall s':>9}{'CPU s':>10}{'peak MB':>9}"
    head += f"{f'{more.n_clips} clips: CPU s':>20}{'peak MB':>9}"
    lines = [f"analysis stages on {once.n_clips} clips, one process each", head]
    for name, cost in once.stages.items():
        larger = more.stages[name]
        lines.append(
            f"{name:<34}{cost.wall_s:>9.1f}{cost.cpu_s:>10.1f}{cost.peak_gb * 1e3:>9.0f}"
            f"{larger.cpu_s:>20.1f}{larger.peak_gb * 1e3:>9.0f}"
        )
    total = f"{'together':<34}{once.wall_s:>9.1f}{once.cpu_s:>10.1f}{once.peak_gb * 1e3:>9.0f}"
    return [*lines, f"{total}{more.cpu_s:>20.1f}{more.peak_gb * 1e3:>9.0f}"]


def verdict(found: dict[str, dict[str, float]], once: Cost, more: Cost) -> dict[str, object]:
    """Return the benchmark's last line."""
    ratios = {name: row["theirs_s"] / row["ours_s"] for name, row in found.items()}
    holds = {name: ratio >= BARS[name] for name, ratio in ratios.items()}
    holds["stages"] = once.wall_s < STAGES_S
    holds["peak"] = max(once.peak_gb, more.peak_gb) < PEAK_GB
    holds["flat"] = more.peak_gb < FLAT * once.peak_gb
    return {
        "name": "statistics",
        "value": round(ratios["permanova_100"], 1),
        "unit": "x scikit-bio at n = 100",
        "bar": "PERMANOVA >= 100 x at n = 100, >= 15 x at n = 500; probes >= 1000 x permutation_test_score; "
        f"analysis stages < {STAGES_S:g} s, peak < {PEAK_GB:g} GB and < {FLAT:g} x with {TIMES} x the clips",
        "holds": all(holds.values()),
        "times": {name: round(ratio, 1) for name, ratio in ratios.items()},
        "over_floor": {name: round(row["ours_s"] / row["floor_s"], 2) for name, row in found.items()},
        "stages_s": round(once.wall_s, 1),
        "stages_cpu_s": round(once.cpu_s, 1),
        "peak_gb": round(once.peak_gb, 3),
        "peak_gb_more_clips": round(more.peak_gb, 3),
        "failed_bars": [name for name, held in holds.items() if not held],
    }


def main() -> int:
    """Measure, print the tables and the JSON line; exit 1 when a bar does not hold."""
    gflops, additions = gemm_gflops(), table_gflops()
    found = {
        "permanova_100": permanova_row(100, gflops, additions),
        "permanova_500": permanova_row(500, gflops, additions),
        "probe": probe_row(gflops),
    }
    print(f"{N_LAYERS} layers, one thread, CPU s, fastest of {ROUNDS} interleaved rounds")
    print(f"{'':<34}{'ours':>9}{'theirs':>10}{'x':>8}{'floor s':>9}{'peak MB':>9}")
    said = {
        "permanova_100": f"{N_PERMUTATIONS} relabellings, n = 100",
        "permanova_500": f"{N_PERMUTATIONS} relabellings, n = 500",
        "probe": f"{PROBE_PERMUTATIONS} probes by prompt, n = {PROBE_PROMPTS}",
    }
    for name, row in found.items():
        ratio = row["theirs_s"] / row["ours_s"]
        print(
            f"{said[name]:<34}{row['ours_s']:>9.3f}{row['theirs_s']:>10.1f}{ratio:>8.0f}"
            f"{row['floor_s']:>9.3f}{row['peak_mb']:>9.0f}"
        )
    logistic = found["probe"]["logistic_s"] / found["probe"]["ours_s"]
    print("theirs: scikit-bio permanova (1 layer x 999, scaled); permutation_test_score of RidgeClassifier")
    print(f"(1 layer x {SCIKIT_LEARN_PERMUTATIONS}, scaled); of LogisticRegression: {logistic:.0f} x ours")
    small, large = (found[name]["product_s"] for name in ("permanova_100", "permanova_500"))
    print(f"floor: one addition per {lookup.BITS} pairs at {additions:.1f} G/s, loops compiled before;")
    print(f"probes: the products. PERMANOVA as one, {gflops:.0f} GFLOP/s: {small:.3f} and {large:.2f} s")
    once, more = analysis_costs()
    print("\n".join(stage_lines(once, more)))
    result = verdict(found, once, more)
    print(json.dumps(result))
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
