"""Names in code spans: those that exist pass, those that do not are named."""

from pathlib import Path

import pytest

from moodlens.docs.names import Project, missing_names

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> Project:
    return Project(ROOT)


@pytest.mark.parametrize(
    "span",
    [
        "src/moodlens/sae/model.py",
        "stats/sign_flip.py",
        "stats/",
        "batchtopk.py",
        "stats.permanova",
        "moodlens.base.errors.must",
        "sae.n_seeds",
        "dvc exp run -S model.id=organism",
        "python -m benchmarks.plan",
        "metrics/<stage>.json",
        "data/audio",
        "facebook/musicgen-small",
        "numpy.load",
        "make repro",
    ],
)
def test_what_exists_passes(span: str, project: Project):
    assert missing_names(f"See `{span}`.", project) == []


@pytest.mark.parametrize(
    ("span", "fault"),
    [
        ("src/moodlens/sae/screen.py", "no such file: src/moodlens/sae/screen.py"),
        ("stats/nobody.py", "no such file: stats/nobody.py"),
        ("stages/sae*.py", "no such file: stages/sae*.py"),
        ("nobody.py", "no such file: nobody.py"),
        ("stats.nobody", "no such module, object or parameter: stats.nobody"),
        ("moodlens.base.errors.ought", "no such module, object or parameter: moodlens.base.errors.ought"),
        ("sae.n_sedes", "no such module, object or parameter: sae.n_sedes"),
        ("dvc exp run -S 'generate.sed=1'", "no such parameter: generate.sed"),
        ("python -m benchmarks.nobody", "no such module: benchmarks.nobody"),
        ("make nothing", "no such make target: nothing"),
        ("moodlens sing", "no such command: moodlens sing"),
    ],
)
def test_what_does_not_exist_is_named(span: str, fault: str, project: Project):
    assert fault in missing_names(f"See `{span}`.", project)
    assert fault in missing_names(f"```\n{span}\n```", project)


def test_text_outside_code_is_not_read(project: Project):
    assert missing_names("stats.nobody and make nothing", project) == []
