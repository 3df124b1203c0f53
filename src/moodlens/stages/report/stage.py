"""Stage `report`: the results of all stages on one page; the verdict's headline in the terminal."""

from pathlib import Path

import pandas as pd

from moodlens.contracts.tables import ACOUSTICS, CLIPS, NEUTRAL, PROMPTS
from moodlens.params.pipeline import Params
from moodlens.plots import dvc_page
from moodlens.report.background import GLOSSARY, checks_of, design_facts, provenance_of, subject_line
from moodlens.report.decide import verdict_of
from moodlens.report.listening import choose, listening
from moodlens.report.page import render
from moodlens.report.records import Listening, Page, Verdict
from moodlens.stages.report.chapters import chapters_of, stored_metrics, stored_table
from moodlens.stats.design import Design, design_of
from moodlens.store.atomic import replacing
from moodlens.store.audio_files import read_waveform
from moodlens.store.run_record import datasets_behind, experiment_name
from moodlens.store.tracking import home_of


def run(params: Params, root: Path) -> None:
    """Write reports/index.html; the page names the stages that were not run."""
    page = gather(params, root)
    path = root / "reports" / "index.html"
    with replacing(path) as temporary:
        temporary.write_text(render(page), encoding="utf-8")
    _prepare_dvc_plots(home_of(root))
    decided = stored_metrics(root, "decide")
    headline = decided["headline"] if decided else "No verdict yet: run `dvc repro`."
    print(f"\n{headline}\nThe verdict: `moodlens verdict`. {_where(root, path)}")


def _prepare_dvc_plots(home: Path) -> None:
    """Write the page in which `dvc plots` draws where the workspace lacks it: DVC's own error says little."""
    if (home / ".dvc" / "config").is_file() and not dvc_page.is_current(home):
        dvc_page.write_page(home)


def _where(root: Path, path: Path) -> str:
    """Return where the report is: a queued experiment's lies in a copy of the workspace that DVC deletes."""
    home = home_of(root)
    if home == root:
        return f"The report: {path}"
    return f"The report: `dvc exp apply {experiment_name()}`, then open {home / 'reports' / 'index.html'}"


def gather(params: Params, root: Path) -> Page:
    """Return everything the page shows, None for what does not exist yet.

    Raises:
        ContractError: a file exists and does not meet its contract.
    """
    prompts, clips = stored_table(root, PROMPTS, "prompts.csv"), stored_table(root, CLIPS, "clips.parquet")
    acoustics = stored_table(root, ACOUSTICS, "acoustics.parquet")
    design = None if prompts is None else _design(prompts)
    generated, checked = stored_metrics(root, "generate"), stored_metrics(root, "check")
    pages = [path.stem for path in sorted((root / "reports" / "checks").glob("*.html"))]
    players = None
    if prompts is not None and clips is not None:
        players = _listening(root, prompts, clips, acoustics, params.report.clips_per_emotion)
    return Page(
        title=params.report.title,
        subject=subject_line(params, clips),
        verdict=_verdict(root, design),
        design=design_facts(params, design, clips, generated),
        listening=players,
        chapters=chapters_of(root, params),
        checks=None if checked is None else checks_of(checked, pages),
        provenance=provenance_of(params, generated, datasets_behind(root, "report")),
        glossary=GLOSSARY,
    )


def _design(prompts: pd.DataFrame) -> Design:
    emotional = prompts[prompts["emotion"] != NEUTRAL]
    return design_of(*(emotional[name].tolist() for name in ("prompt_id", "emotion", "wording")))


def _verdict(root: Path, design: Design | None) -> Verdict | None:
    decided = stored_metrics(root, "decide")
    if decided is None or design is None:
        return None
    return verdict_of(decided, design.n_classes, design.n_prompts)


def _listening(
    root: Path, prompts: pd.DataFrame, clips: pd.DataFrame, acoustics: pd.DataFrame | None, per_emotion: int
) -> Listening:
    chosen = choose(clips, prompts, per_emotion)
    files = {row["clip_id"]: root / "data" / row["audio_path"] for row in chosen.to_dict("records")}
    waveforms = {clip_id: read_waveform(path)[0] for clip_id, path in files.items()}
    return listening(
        chosen, acoustics, {clip_id: path.read_bytes() for clip_id, path in files.items()}, waveforms
    )
