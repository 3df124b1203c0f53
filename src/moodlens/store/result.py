"""A result of the pipeline: the records of its stages, its verdicts and its numbers, before they are logged.

Nothing here needs MLflow.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

from moodlens.base.errors import UsageError, must
from moodlens.store.run_record import (
    Input,
    Record,
    experiment_name,
    file_md5,
    flat,
    locked_outputs,
    read_record,
    record_path,
)
from moodlens.store.tables import read_metrics

LAST_STAGE = "report"
TRACK = "track"
FIRST_RUNG = "music"
"""Rung whose strength is logged first: MLflow's page of comparisons opens with the first metric of a run."""
PAUSE_MS = 10 * 60_000
"""A longer pause between two stages divides one run of the pipeline from an earlier one."""
ORDER = re.compile(r"^\d+_")
"""Digits that order the keys of metrics/overview.json."""


@dataclass(frozen=True)
class Result:
    """One finished run of the pipeline in a workspace."""

    name: str  # of the DVC experiment, or model and git revision
    digest: str  # md5 of the records; equal for the same result
    headline: str  # the verdict in a sentence
    records: tuple[Record, ...]  # of every stage, by start
    reused: tuple[str, ...]  # stages whose outputs are of an earlier run
    params: Mapping[str, Any]  # by section
    metrics: Mapping[str, float]  # in order of logging
    verdicts: Mapping[str, str]  # rung -> verdict
    model: Mapping[str, str]  # id, revision, weights (SHA-256)

    @property
    def started_ms(self) -> int:
        """When the first stage of this run of the pipeline started; earlier, reused stages do not count."""
        return min(record.started_ms for record in self._own)

    @property
    def ended_ms(self) -> int:
        """When the last stage ended."""
        return max(record.ended_ms for record in self.records)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What any stage read, by path."""
        by_path = {entry.path: entry for record in self.records for entry in record.inputs}
        return tuple(by_path[path] for path in sorted(by_path))

    @property
    def _own(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.stage not in self.reused)

    def of(self, stage: str) -> Record | None:
        """Return the record of a stage, None if it has none."""
        return next((record for record in self.records if record.stage == stage), None)


def read_result(root: Path) -> Result:
    """Return the finished run of a workspace.

    Raises:
        UsageError: nothing has finished here, or some stages ran again and later ones did not.
        ContractError: a record or a metrics file is damaged.
    """
    folder = record_path(root, LAST_STAGE).parent
    stages = [path.stem for path in sorted(folder.glob("*.json")) if path.stem != TRACK]
    if LAST_STAGE not in stages:
        advice = "Run `make repro`"
        raise UsageError(must("a run", "be finished in this workspace", "none", next_step=advice))
    read = [record for record in (read_record(root, stage) for stage in stages) if record is not None]
    records = tuple(sorted(read, key=lambda record: (record.started_ms, record.ended_ms)))
    if stale := stale_stages(root, records):
        thing, rule = "every stage", "have run on the files that are here now"
        advice = "Run `dvc repro`"
        raise UsageError(must(thing, rule, f"earlier files in {', '.join(stale)}", next_step=advice))
    last = next(record for record in records if record.stage == LAST_STAGE)
    metrics = root / "metrics"
    overview = read_metrics(metrics / "overview.json")
    verdicts, numbers = numbers_of(overview, _if_present(metrics / "sae_overview.json"))
    work_ms = sum(record.ended_ms - record.started_ms for record in records)
    section, version = last.params["model"], last.revision[:7] or "no git"
    return Result(
        name=experiment_name() or last.experiment or f"{_short(section['id'])} @ {version}",
        digest=_digest(root, stages),
        headline=str(_if_present(metrics / "decide.json").get("headline", "")),
        records=records,
        reused=reused_stages(records),
        params=last.params,
        metrics={**numbers, "work_s": work_ms / 1000},
        verdicts=verdicts,
        model={
            "id": str(section["id"]),
            "revision": str(section.get("revision", "")),
            "weights": str(_if_present(metrics / "generate.json").get("weights_sha256", "")),
        },
    )


def numbers_of(
    overview: Mapping[str, Any], sae_overview: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, float]]:
    """Return verdict by rung, and the numbers in order of logging, of the two overview files.

    >>> verdicts, numbers = numbers_of(
    ...     {"0_verdict": {"1_text_code": 3, "1_text_code_is": "strong", "2_music": 0, "2_music_is": "none"},
    ...      "1_effects": {"music": {"effect": 0.1, "low": 0.0, "p": 0.2}}, "2_design": {"n_prompts": 64}},
    ...     {"residual.3": {"fvu": 0.2}})
    >>> verdicts
    {'text_code': 'strong', 'music': 'none'}
    >>> list(numbers.items())[:4]
    [('strength_music', 0.0), ('strength_text_code', 3.0), ('effect_music', 0.1), ('effect_music_low', 0.0)]
    >>> list(numbers.items())[4:]
    [('p_music', 0.2), ('n_prompts', 64.0), ('sae.residual.3.fvu', 0.2)]
    """
    verdicts: dict[str, str] = {}
    named: list[tuple[str, object]] = []
    for key, value in overview.get("0_verdict", {}).items():
        rung = ORDER.sub("", key)
        if rung.endswith("_is"):
            verdicts[rung.removesuffix("_is")] = str(value)
        else:
            named.append((f"strength_{rung}", value))
    named.sort(key=lambda pair: pair[0] != f"strength_{FIRST_RUNG}")
    for subject, numbers in overview.get("1_effects", {}).items():
        for key, value in numbers.items():
            bound = key in ("low", "high")
            named.append((f"effect_{subject}_{key}" if bound else f"{key}_{subject}", value))
    for section in ("2_design", "3_findings"):
        named += overview.get(section, {}).items()
    for key, value in flat(sae_overview):
        parts = [ORDER.sub("", part) for part in key.split(".")]
        named.append((".".join(["sae", *parts]), value))
    numeric = {key: float(value) for key, value in named if isinstance(value, (int, float))}
    return verdicts, numeric


def stale_stages(root: Path, records: Sequence[Record]) -> list[str]:
    """Return the stages that read another version of a file than dvc.lock names as a stage's output now."""
    now = locked_outputs(root, *(record.stage for record in records))
    return [
        record.stage
        for record in records
        if any(now.get(entry.path, entry.md5) != entry.md5 for entry in record.inputs)
    ]


def reused_stages(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the stages whose outputs were made before the latest run of the pipeline, by start.

    The latest run is told by going back from the stage that ended last: it ends at a stage of another DVC
    experiment or git revision, and at a pause longer than `PAUSE_MS`.
    """
    backwards = sorted(records, key=lambda record: record.ended_ms, reverse=True)
    last = start = backwards[0]
    own = {last.stage}
    for record in backwards[1:]:
        same = (record.experiment, record.revision) == (last.experiment, last.revision)
        if not same or start.started_ms - record.ended_ms > PAUSE_MS:
            break
        own.add(record.stage)
        start = record
    return tuple(record.stage for record in records if record.stage not in own)


def _digest(root: Path, stages: Sequence[str]) -> str:
    digest = md5(usedforsecurity=False)
    for stage in stages:
        digest.update(f"{stage} {file_md5(record_path(root, stage))}\n".encode())
    return digest.hexdigest()


def _short(model_id: str) -> str:
    """Return the last part of a model's id or folder.

    >>> _short("facebook/musicgen-small")
    'musicgen-small'
    """
    return model_id.rstrip("/").rpartition("/")[2]


def _if_present(path: Path) -> dict[str, Any]:
    return read_metrics(path) if path.is_file() else {}
