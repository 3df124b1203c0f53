"""Names that pages give in code spans: files, modules, make targets, parameters. Each must exist.

What is checked:
    paths            `src/moodlens/sae/model.py`, `null_text/step_probe.py`, or a bare `model.py`
    dotted names     `stats.sign_flip.better_p`, where the first part is a room or `moodlens`
    parameters       `sae.l1`, where the first part is a section of params.yaml; also `-S section.key=...`
    commands         `make target`, `python -m module`, `moodlens command`
Paths that git ignores count as existing where a stage writes them or .gitignore names them.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SPAN = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
ENDINGS = "py|md|csv|json|yaml|toml|txt|ipynb|parquet|html|safetensors"
FILE = re.compile(rf"(?<![\w./~$<>{{:=-])((?:[\w*-]+/)+[\w.*-]*(?<!\.)|[\w*-]+\.(?:{ENDINGS}))(?![\w/<*])")
DOTTED = re.compile(r"(?<![\w./$:|-])([a-z_]+(?:\.\w+)+)(?![\w/*<])")
MAKE = re.compile(r"(?<!\w)make ([a-z][a-z-]*)")
MODULE = re.compile(r"python -m ([\w.]+)")
COMMAND = re.compile(r"(?m)^\s*moodlens ([a-z]+)")
FOLDERS = ("src", "tests", "benchmarks", "docs", "metrics", "calibration", "models", "notebooks", "data")
FOREIGN = {"cfg.json", "sae_weights.safetensors", "sparsity.safetensors"}
"""Files of SAELens and audiocraft that pages name."""
OPTION = re.compile(r"-S '?(\w+(?:\.\w+)+)=")


def missing_names(page: str, project: "Project") -> list[str]:
    """Return a sentence for each name in the code spans of a page that does not exist in the project."""
    spans = (match.group(1) or match.group(2) for match in SPAN.finditer(page))
    return list(dict.fromkeys(fault for span in spans for fault in project.faults(span)))


class Project:
    """What exists in a repository: files, outputs of stages, parameters, targets and commands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = root / "src" / "moodlens"
        self.sections: dict[str, Any] = {}
        for path in (root / "params.yaml", *sorted(root.glob("*/params.yaml"))):
            self.sections = yaml.safe_load(path.read_text()) | self.sections
        self.written = [line.rstrip("/*") for line in (root / ".gitignore").read_text().splitlines()]
        self.written += ["data", "reports", "calibration/work"]
        self.targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", (root / "Makefile").read_text()))
        cli = "".join(path.read_text() for path in sorted((self.package / "cli").glob("*.py")))
        self.commands = set(re.findall(r"add_parser\(\s*\"(\w+)\"", cli))
        inside = (path for folder in FOLDERS for path in (root / folder).rglob("*.*"))
        self.file_names = {path.name for path in (*root.glob("*"), *inside)}

    def faults(self, span: str) -> Iterator[str]:
        """Yield a sentence for each name in a code span that does not exist."""
        files = FILE.findall(span)
        yield from (f"no such file: {name}" for name in files if not self._has_path(name))
        for name in DOTTED.findall(span):
            if name not in files and name not in self.file_names and not self._has_dotted(name):
                yield f"no such module, object or parameter: {name}"
        yield from (
            f"no such parameter: {name}" for name in OPTION.findall(span) if not self._has_parameter(name)
        )
        yield from (f"no such make target: {name}" for name in MAKE.findall(span) if name not in self.targets)
        for name in MODULE.findall(span):
            if name.split(".")[0] in ("moodlens", "benchmarks") and self._module(name.split(".")) is None:
                yield f"no such module: {name}"
        for name in COMMAND.findall(span):
            if name not in self.commands:
                yield f"no such command: moodlens {name}"

    def _has_path(self, name: str) -> bool:
        bare = name.rstrip("/")
        if "/" not in name:
            return bare in self.file_names or bare in FOREIGN
        top = bare.split("/")[0]
        if not ((self.root / top).is_dir() or (self.package / top).is_dir()) or top == "moodlens":
            return True  # a model id, an experiment, a fraction: no path of this repository
        if any(bare == path or bare.startswith(f"{path}/") for path in self.written if path):
            return True
        return any(next(folder.glob(bare), None) for folder in (self.root, self.package))

    def _has_dotted(self, name: str) -> bool:
        parts = name.split(".")
        if parts[0] == "moodlens":
            return self._has_object(parts[1:])
        if parts[-1] in ENDINGS.split("|"):
            return True  # a file: see _has_path
        section = parts[0] in self.sections
        room = (self.package / parts[0]).is_dir()
        if not section and not room:
            return True  # numpy.load, gates.passed: no name of this project
        return (section and self._has_parameter(name)) or (room and self._has_object(parts))

    def _has_parameter(self, name: str) -> bool:
        node: Any = self.sections
        for part in name.split("."):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def _has_object(self, parts: list[str]) -> bool:
        """Say whether dotted parts below the package are a module, or a module and a name that it binds."""
        if self._module(["moodlens", *parts]) is not None:
            return True
        path = self._module(["moodlens", *parts[:-1]])
        if path is None:
            return False
        bound = {
            getattr(target, "name", getattr(target, "id", None))
            for node in ast.walk(ast.parse(path.read_text()))
            for target in (getattr(node, "targets", None) or [getattr(node, "target", None) or node])
        }
        return parts[-1] in bound

    def _module(self, parts: list[str]) -> Path | None:
        source = self.root / "src" if parts[0] == "moodlens" else self.root
        path = source.joinpath(*parts)
        return next(
            (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None
        )
