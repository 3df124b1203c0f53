"""A result of the pipeline in MLflow: one run, a run per stage below it, and below those the parts of stages.

Every run of a result has the result's digest as a tag. By it a result is found again, and what an interrupted
attempt left is replaced.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from moodlens.store.dataset_schema import schema_of
from moodlens.store.experiment import KIND
from moodlens.store.result import TRACK, Result
from moodlens.store.run_record import Input, Record, Run, Sample, flat

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

DIGEST = "moodlens.records"
"""Tag with the digest of the result."""
SITE = "sae.site"
"""Tag of the run of a site's SAE."""
MAX_METRICS, MAX_PARAMS = 900, 100  # per log_batch; the server takes 100 parameters and 1000 of both
MAX_VALUE = 6000  # characters of a parameter's value, the server's limit
CPU, MEMORY = "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"
"""Names under which MLflow's page of system metrics looks."""
FIGURE = re.compile(r'<section id="(\w+)"|<figure class="plot">.*?(<svg.*?</svg>)', re.DOTALL)


@dataclass(frozen=True)
class LoggedResult:
    """Ids of the runs of a result."""

    run_id: str
    stages: dict[str, str] = field(default_factory=dict)  # stage -> run id
    sites: dict[str, str] = field(default_factory=dict)  # site -> run id of its SAE


def find_result(client: "MlflowClient", experiment_id: str, digest: str) -> str | None:
    """Return the run of a result that is completely in the store, None if there is none."""
    query = f"tags.`{DIGEST}` = '{digest}' and tags.`{KIND}` = 'result' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment_id], query, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def discard(client: "MlflowClient", experiment_id: str, digest: str) -> None:
    """Delete what an interrupted attempt left: the runs of a result and the versions registered from them."""
    while runs := client.search_runs([experiment_id], f"tags.`{DIGEST}` = '{digest}'"):
        for run in runs:
            for entry in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
                client.delete_model_version(entry.name, entry.version)
            client.delete_run(run.info.run_id)


def log_result(client: "MlflowClient", experiment_id: str, result: Result, root: Path) -> LoggedResult:
    """Log a result with its stages and artifacts; until `finish` is called it counts as interrupted."""
    about = {DIGEST: result.digest, **verdict_tags(result)}
    writer = _Writer(client, experiment_id, about, _datasets(result.inputs, root))
    parent = Run(
        result.name,
        params=result.params,
        metrics=result.metrics,
        tags={
            KIND: "result",
            **({"stages.reused": ", ".join(result.reused)} if result.reused else {}),
            "mlflow.note.content": note_of(result),
            **_version_tags(result.records[-1]),
        },
    )
    own = (record for record in result.records if record.stage not in result.reused)
    samples = [sample for record in own for sample in record.samples]
    run_id = writer.write(parent, result.started_ms, None, result.inputs, samples)
    logged = LoggedResult(run_id)
    for record in result.records:
        _log_stage(writer, record, logged)
    with TemporaryDirectory() as folder:
        gather_artifacts(root, Path(folder))
        client.log_artifacts(run_id, folder)
    return logged


def finish(client: "MlflowClient", logged: LoggedResult, result: Result) -> None:
    """Close the run of a result; from now on it counts as complete."""
    client.set_terminated(logged.run_id, "FINISHED", result.ended_ms)


def _log_stage(writer: "_Writer", record: Record, logged: LoggedResult) -> None:
    run = record.run or Run(record.stage, {record.stage: record.params.get(record.stage, {})})
    shared = {"moodlens.stage": record.stage, **_version_tags(record)}

    def log(part: Run, kind: str, parent_id: str, samples: Sequence[Sample]) -> str:
        tags = {**shared, KIND: kind, "mlflow.parentRunId": parent_id, **part.tags}
        named = Run(part.name, part.params, part.metrics, part.curves, tags)
        run_id = writer.write(named, record.started_ms, record.ended_ms, record.inputs, samples)
        for child in part.children:
            log(child, "part", run_id, ())
        if kind == "part" and record.stage == "sae" and SITE in part.tags:
            logged.sites.setdefault(part.tags[SITE], run_id)
        return run_id

    logged.stages[record.stage] = log(run, "stage", logged.run_id, record.samples)


def verdict_tags(result: Result) -> dict[str, str]:
    """Return the tags that say whose result a run is part of: verdict by rung, model, weights."""
    return {
        **{f"verdict.{rung}": verdict for rung, verdict in result.verdicts.items()},
        **{f"model.{key}": value for key, value in result.model.items() if value},
    }


def _version_tags(record: Record) -> dict[str, str]:
    tags = {"git.revision": record.revision, "dvc.exp.name": record.experiment}
    return {key: value for key, value in tags.items() if value}


def note_of(result: Result) -> str:
    """Return the description of a result, in Markdown."""
    rows = [f"**{result.model['id']}**: {result.headline}", "", "| rung | verdict | effect | accuracy |"]
    rows.append("|---|---|---|---|")
    numbers = result.metrics
    for rung, verdict in result.verdicts.items():
        interval = [numbers.get(f"effect_{rung}{end}") for end in ("", "_low", "_high")]
        effect = "" if None in interval else "{:.3f} [{:.3f}, {:.3f}]".format(*interval)
        accuracy = numbers.get(f"accuracy_{rung}")
        rows.append(f"| {rung} | {verdict} | {effect} | {'' if accuracy is None else f'{accuracy:.3f}'} |")
    rows += ["", "The report is the artifact `report/index.html`."]
    if result.reused:
        rows.append(f"Of an earlier run, because nothing they read has changed: {', '.join(result.reused)}.")
    return "\n".join(rows)


def gather_artifacts(root: Path, folder: Path) -> None:
    """Copy report, figures, metrics tables and stage records of a workspace to a folder."""
    for source, target in ((root / "metrics", "metrics"), (root / "data" / "runs", "records")):
        for path in sorted(source.glob("*")):
            if path.suffix in (".json", ".csv") and path.stem != TRACK:
                (folder / target).mkdir(exist_ok=True)
                shutil.copyfile(path, folder / target / path.name)
    report = root / "reports" / "index.html"
    if not report.is_file():
        return
    (folder / "report").mkdir()
    shutil.copyfile(report, folder / "report" / report.name)
    (folder / "figures").mkdir()
    for name, svg in figures_of(report.read_text(encoding="utf-8")):
        (folder / "figures" / name).write_text(svg, encoding="utf-8")


def figures_of(page: str) -> Iterator[tuple[str, str]]:
    """Yield (file name, SVG) of every figure of the report, named by chapter and number.

    >>> page = '<section id="layers"><figure class="plot"><div><svg></svg></div></figure></section>'
    >>> list(figures_of(page))
    [('layers-1.svg', '<svg></svg>')]
    """
    chapter, number = "", 0
    for match in FIGURE.finditer(page):
        section, svg = match.groups()
        if section:
            chapter, number = section, 0
        else:
            number += 1
            yield f"{chapter}-{number}.svg", svg


def _datasets(inputs: Sequence[Input], root: Path) -> dict[str, "DatasetInput"]:
    """Return MLflow's description of each input, by path."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    described = {}
    for entry in inputs:
        dataset = Dataset(
            name=entry.path,
            digest=entry.md5,
            source_type="dvc",
            source=json.dumps({"path": entry.path, "md5": entry.md5}),
            schema=schema_of(root / entry.path),
            profile=json.dumps({"size_bytes": entry.size}),
        )
        described[entry.path] = DatasetInput(dataset, [InputTag("mlflow.data.context", "input")])
    return described


@dataclass(frozen=True)
class _Writer:
    """Writes runs of one result."""

    client: "MlflowClient"
    experiment_id: str
    tags: Mapping[str, str]  # of every run
    datasets: Mapping[str, "DatasetInput"]

    def write(
        self,
        run: Run,
        started_ms: int,
        ended_ms: int | None,
        inputs: Sequence[Input],
        samples: Sequence[Sample],
    ) -> str:
        """Write one run without its children and return its id; it stays open if `ended_ms` is None."""
        from mlflow.entities import Metric, Param

        tags = {**self.tags, **run.tags}
        created = self.client.create_run(self.experiment_id, started_ms, tags, run.name)
        run_id = str(created.info.run_id)
        at = started_ms if ended_ms is None else ended_ms
        metrics = [Metric(key, float(value), at, 0) for key, value in run.metrics.items()]
        metrics += [
            Metric(key, float(value), at, step)
            for key, values in run.curves.items()
            for step, value in enumerate(values)
        ]
        for step, sample in enumerate(samples):
            metrics.append(Metric(CPU, sample.cpu_percent, sample.time_ms, step))
            metrics.append(Metric(MEMORY, sample.memory_mb, sample.time_ms, step))
        params = [Param(key, str(value)[:MAX_VALUE]) for key, value in flat(run.params)]
        parts = zip_longest(batches(metrics, MAX_METRICS), batches(params, MAX_PARAMS), fillvalue=())
        for some_metrics, some_params in parts:
            self.client.log_batch(run_id, metrics=some_metrics, params=some_params)
        if inputs:
            self.client.log_inputs(run_id, [self.datasets[entry.path] for entry in inputs])
        if ended_ms is not None:
            self.client.set_terminated(run_id, "FINISHED", ended_ms)
        return run_id


def batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield consecutive lists of at most `size` items.

    >>> list(batches([1, 2, 3], 2))
    [[1, 2], [3]]
    """
    stream = iter(items)
    while part := list(islice(stream, size)):
        yield part
