"""What each stage wrote, by SHA-256 in the record of its run; a later stage refuses a file that is another.

DVC tells by size and times whether a file changed, so it does not see a flipped bit. Text and tables have no
checksum of their own: a digit that changed in a metrics file would be another verdict.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moodlens.base.errors import ContractError, must
from moodlens.store.receipts import file_sha256
from moodlens.store.run_record import RUNS, declared_by_stage, dependencies_of, files_at, read_record

SELF_CHECKED = (".safetensors", ".flac")
"""Files with checksums of their own, compared whenever they are read: shards, and the frames of FLAC."""


def output_digests(root: Path, stage: str) -> dict[str, str]:
    """Return path -> SHA-256 of the outputs of a stage as they are now, without files that check themselves.

    Empty where there is no dvc.yaml or the stage is not in it.
    """
    outputs = declared_by_stage(root).get(stage, set())
    files = (file for out in sorted(outputs) if not out.startswith(RUNS) for file in files_at(root / out))
    return {
        file.relative_to(root).as_posix(): file_sha256(file)
        for file in files
        if file.suffix not in SELF_CHECKED and file.is_file()
    }


def require_outputs(root: Path, stage: str, params: Mapping[str, Any]) -> None:
    """Return if every file that a stage depends on is as the stage that made it left it.

    A file whose stage has no record, or whose record does not name it, is not compared.

    Args:
        root: of the workspace.
        stage: that is about to run.
        params: params.yaml by section; fills `${section.key}` in a path.

    Raises:
        ContractError: a file is another, or a record is damaged.
    """
    needed = dependencies_of(root, stage, params)
    for maker, outputs in declared_by_stage(root).items():
        if maker == stage or not any(_overlap(dep, out) for dep in needed for out in outputs):
            continue
        record = read_record(root, maker)
        for path, digest in sorted(record.outputs.items()) if record else ():
            file = root / path
            if not any(_within(path, dep) for dep in needed) or not file.is_file():
                continue  # a file that is absent is reported by whoever reads it
            if file_sha256(file) != digest:
                rule = f"be as stage {maker} wrote it"
                advice = f"Run `dvc repro --force --single-item {maker}`, then `dvc repro`"
                raise ContractError(must(path, rule, "other content", next_step=advice))


def _overlap(dep: str, out: str) -> bool:
    return _within(dep, out) or _within(out, dep)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
