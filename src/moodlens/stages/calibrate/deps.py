"""Command `deps`: make the code dependencies in calibration/dvc.yaml equal to the stages' import closures."""

from pathlib import Path

from ruamel.yaml import YAML

from moodlens.contracts.calibration import CalibrationParams
from moodlens.stages.calibrate.twins import needed_stages
from moodlens.stages.closure import closure, code_deps, imports_something, path_of

HERE = "moodlens.stages.calibrate"


def run(_params: CalibrationParams, home: Path) -> None:
    """Rewrite calibration/dvc.yaml."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = home / "dvc.yaml"
    document = yaml.load(path.read_text(encoding="utf-8"))
    for name, stage in document["stages"].items():
        kept = [dep for dep in stage["deps"] if not dep.startswith("../src/")]
        stage["deps"] = [*calibration_deps(name, home.parent), *kept]
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


def calibration_deps(stage: str, root: Path) -> list[str]:
    """Return the code a stage of calibration/dvc.yaml depends on, relative to calibration/."""
    source = root / "src"
    modules = closure(f"{HERE}.{stage}", source) | closure(f"{HERE}.__main__", source)
    files = {path_of(module, source) for module in modules}
    files = {path for path in files if path.name != "__init__.py" or imports_something(path)}
    found = {path.relative_to(root).as_posix() for path in files}
    if stage == "verdicts":  # runs other stages as processes
        for name in (*needed_stages(root), "calibrate.naive"):
            found |= set(code_deps(name, root))
    return sorted(f"../{path}" for path in found)
