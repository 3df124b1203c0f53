"""Stage `check`: every dataset against its suite of expectations; a failed one stops what comes after.

Pages and metrics are written either way; then the first failure is raised as one line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from moodlens.base.errors import ContractError
from moodlens.compute.pool import progress
from moodlens.contracts.tables import (
    ACOUSTICS,
    ACTIVATIONS,
    CLIPS,
    EMBEDDINGS,
    PROMPTS,
    REENCODED,
    SELFTESTS,
    SWAPS,
)
from moodlens.params.pipeline import Params
from moodlens.quality.activation_suite import activations_suite
from moodlens.quality.audio_suite import acoustics_suite, audio_suite
from moodlens.quality.embedding_suite import embeddings_suite
from moodlens.quality.prompt_suite import prompts_suite
from moodlens.quality.reencoded_suite import ReencodedData, reencoded_suite
from moodlens.quality.rules import View
from moodlens.quality.run import Outcome, render_suite, validate
from moodlens.quality.stored_files import (
    audio_files,
    made_with,
    reencoded_files,
    require_encoder,
    shard_files,
    stored_embeddings,
    token_variety,
)
from moodlens.store.atomic import replacing
from moodlens.store.tables import read_table, write_metrics


def run(params: Params, root: Path) -> None:
    """Write metrics/check.json and reports/checks/<suite>.html.

    Raises:
        ContractError: an expectation failed; the line names suite, column, value, row and next step.
    """
    suites = suites_of(params, root / "data")
    outcomes = validate(suites)
    for suite in suites:
        page = render_suite(suite, [outcome for outcome in outcomes if outcome.suite == suite])
        with replacing(root / "reports" / "checks" / f"{suite}.html") as temporary:
            temporary.write_text(page, encoding="utf-8")
    write_metrics(summary(suites, outcomes), root / "metrics" / "check.json")
    failed = [outcome for outcome in outcomes if not outcome.success]
    if failed:
        more = f" {len(failed) - 1} more failed." if len(failed) > 1 else ""
        raise ContractError(f"{failed[0].line}{more} See reports/checks/{failed[0].suite}.html.")


def suites_of(params: Params, data: Path) -> dict[str, list[View]]:
    """Return suite -> views of the datasets in the folder `data`.

    Raises:
        ContractError: a table is absent or breaks its columns; the embeddings cannot be read.
    """
    prompts = read_table(PROMPTS, data / "prompts.csv")
    clips = read_table(CLIPS, data / "clips.parquet")
    activations = read_table(ACTIVATIONS, data / "activations" / "index.parquet")
    embeddings = read_table(EMBEDDINGS, data / "embeddings" / "index.parquet")
    acoustics = read_table(ACOUSTICS, data / "acoustics.parquet")
    model = made_with(data)
    require_encoder(data, model)
    shapes, n_words = stored_embeddings(data)
    with progress("check audio", "clip", len(clips)) as advance:
        files = audio_files(clips, data, advance)
    return {
        "prompts": prompts_suite(prompts, params),
        "audio": audio_suite(clips, files, token_variety(clips, data), prompts, params, model),
        "activations": activations_suite(activations, clips, shard_files(clips, data), params, model),
        "reencoded": reencoded_suite(_reencoded(clips, data), clips, params, model),
        "embeddings": embeddings_suite(embeddings, prompts, shapes, model, n_words),
        "acoustics": acoustics_suite(acoustics, clips),
    }


def _reencoded(clips: pd.DataFrame, data: Path) -> ReencodedData:
    folder = data / "reencoded"
    return ReencodedData(
        read_table(REENCODED, folder / "index.parquet"),
        read_table(SWAPS, folder / "swaps.parquet"),
        read_table(SELFTESTS, folder / "selftests.parquet"),
        reencoded_files(clips, data),
    )


def summary(suites: Mapping[str, Sequence[View]], outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return the metrics: success, expectations and failures in all and per suite, rows of each dataset."""
    failed = [outcome for outcome in outcomes if not outcome.success]
    per_suite = {}
    for suite, views in suites.items():
        mine = [outcome for outcome in outcomes if outcome.suite == suite]
        per_suite[suite] = {
            "success": all(outcome.success for outcome in mine),
            "n_expectations": len(mine),
            "n_failed": sum(not outcome.success for outcome in mine),
            "n_rows": len(views[0].frame),
        }
    return {
        "success": not failed,
        "n_expectations": len(outcomes),
        "n_failed": len(failed),
        "failures": [outcome.line for outcome in failed],
        "suites": per_suite,
    }
