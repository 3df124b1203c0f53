"""Stages that are killed at random points, and files that are cut or flipped: same bytes, or one line.

MOODLENS_KILLS is the number of kills of each stage: 1 by default, 20 at night, when every kind of file that a
stage reads is damaged too. Half of the kills strike at a random file that the stage opens, renames or
removes, the others at a random moment.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from moodlens.base.seeding import rng_for
from tests.stages.interrupted import ORDER, Ended, Undisturbed, digests, run, run_all

N_KILLS = int(os.environ.get("MOODLENS_KILLS", "1"))
KILLED = ("generate", "reencode", "forks", "interchange", "sae", "latents")
CLIPS = ("data/prompts.csv", "data/clips.parquet", "data/activations/manifest.json")
GENERATED = ("data/codes/shard-*", "data/activations/shard-*", "data/activations/summary-*")
READ = {
    "generate": (CLIPS[0], *GENERATED, "data/activations/receipt-*", "data/audio/*"),
    "reencode": (*CLIPS, *GENERATED, "data/reencoded/receipt-*", "data/reencoded/*.safetensors"),
    "embed": (CLIPS[0],),
    "acoustics": (CLIPS[1], "data/audio/*"),
    "check": (
        *CLIPS, "data/activations/index.parquet", "data/embeddings/*", "data/reencoded/*.parquet",
        "data/acoustics.parquet",
    ),
    "forks": (*CLIPS, "data/.forks/receipt-*", "data/audio/*", "metrics/check.json"),
    "interchange": (
        *CLIPS, "data/.interchange/receipt-*", "data/.interchange/displaced-*", "data/audio/*",
        "metrics/check.json",
    ),
    "sae": (*CLIPS, GENERATED[0], GENERATED[1], "metrics/decide.json"),
    "latents": (
        "metrics/sae.json", "data/sae/texts.csv", "data/sae/*.safetensors", "models/sae/*/*/cfg.json",
        "models/sae/*/*/sae_weights.safetensors", "data/acoustics.parquet", GENERATED[1],
    ),
}  # fmt: skip
"""Stage -> files that it reads: inputs, and what it keeps of an earlier run."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    return run_all(tmp_path_factory.mktemp("interrupted") / "workspace")


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_stage_ends_in_the_bytes_of_an_undisturbed_run(
    name: str, undisturbed: dict[str, Undisturbed], tmp_path: Path
):
    one, rng = undisturbed[name], rng_for("kills", name)
    root = tmp_path / "workspace"
    for trial in range(N_KILLS):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(one.start, root)
        if (trial + KILLED.index(name)) % 2 == 0:
            touch = int(rng.integers(1, one.ended.touches + 1))
            where = f"touch {touch} of {one.ended.touches}"
            assert run(name, root, kill_at_touch=touch).status == -9
        else:
            moment_s = float(rng.uniform(0, one.ended.seconds))
            where = f"{moment_s:.2f} s of {one.ended.seconds:.2f}"
            run(name, root, kill_after_s=moment_s)
        again = run(name, root)
        assert again.status == 0, f"killed at {where}: {again.said}"
        assert changed(digests(root), one.digests) == [], f"killed at {where}"


def changed(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def damaged(content: bytes, how: str, rng: Any) -> bytes:
    """Return the content, cut at a random place or with one bit flipped."""
    at = int(rng.integers(len(content)))
    if how == "cut":
        return content[:at]
    return content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :]


def in_one_line(ended: Ended) -> bool:
    lines = ended.said.strip().splitlines()
    return ended.status == 1 and lines[-1].startswith("error: ") and "Traceback" not in ended.said


@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_gives_the_same_bytes_or_one_line(
    name: str, undisturbed: dict[str, Undisturbed], tmp_path: Path
):
    """The stage runs again on the finished workspace, in which one file is damaged.

    In a third of the cases no record says what stages wrote, and each reader is on its own: a text that was
    cut may then be read as a shorter one.
    """
    rng = rng_for("damage", name)
    last = undisturbed[ORDER[-1]]
    whole, wanted = last.start.with_name("workspace"), last.digests
    cases = [
        (kind, *how) for kind in READ[name] for how in (("cut", True), ("flipped", True), ("cut", False))
    ]
    cases = [cases[i] for i in rng.permutation(len(cases))]
    n_cases = max(1, len(cases) // 6) if N_KILLS < 20 else len(cases) * 2
    for number in range(n_cases):
        kind, how, recorded = cases[number % len(cases)]
        root = tmp_path / "workspace"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole, root)
        if not recorded:
            shutil.rmtree(root / "data" / "runs")
        files = sorted(root.glob(kind))
        file = files[int(rng.integers(len(files)))]
        file.write_bytes(damaged(file.read_bytes(), how, rng))
        name_of_file = file.relative_to(root).as_posix()
        ended = run(name, root)
        case = f"{name_of_file}, {how}, {'recorded' if recorded else 'no record'}"
        print(name, case, ended.said.strip().splitlines()[-1:] if ended.status else "ran")
        if ended.status:
            assert in_one_line(ended), f"{case}: {ended.said}"
        elif recorded:
            assert set(changed(digests(root), wanted)) <= {name_of_file}, case
