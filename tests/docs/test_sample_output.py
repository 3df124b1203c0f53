"""The sample output in README.md is what `moodlens verdict` prints of the published run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moodlens.cli.verdict import Origin, origin_text
from moodlens.report.decide import verdict_text

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "published"
INTRODUCTION = "What `make repro` prints at its end"


def published(name: str) -> Mapping[str, Any]:
    return json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))


def published_verdict() -> str:
    """Return the verdict of the published run as a terminal shows it, up to the comparison of numbers."""
    run, overview = published("run"), published("overview")
    origin = Origin(
        model=run["params"]["model"]["id"],
        n_prompts=overview["2_design"]["n_prompts"],
        n_seeds=run["params"]["generate"]["n_seeds"],
        revision=run["revision"],
        ended=run["ended"],
        experiment="",
        changed=(),
    )
    return f"{origin_text(origin)}\n\n{verdict_text(published('decide'))}\n"


def test_the_sample_output_is_the_verdict_of_the_published_run():
    """Where this fails after `make publish`, put this into the block of README.md.

    python -c "from tests.docs.test_sample_output import published_verdict; print(published_verdict())"
    """
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    sample = page.split(INTRODUCTION)[1].split("```")[1].removeprefix("\n")
    assert sample == published_verdict()
