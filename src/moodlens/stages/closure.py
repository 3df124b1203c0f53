"""The import closure of each stage, and the tool that keeps dvc.yaml's code dependencies equal to it.

DVC does not notice a changed module that is not among a stage's `deps`. So the code entries of each stage
are exactly the files its module imports, directly or not. `python -m moodlens.stages.closure` rewrites
them; a test fails when they differ.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "moodlens"
ENTRY = ("moodlens.stages.__main__", "moodlens.stages.shell")


def closure(module: str, source: Path) -> set[str]:
    """Return the modules of the package that `module` imports, itself included; `source` is the src folder.

    Imports inside functions count; imports under `if TYPE_CHECKING:` do not run and do not count.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting.extend(found for found in imports(name, source) if found not in seen)
    return seen


def imports(module: str, source: Path) -> set[str]:
    """Return the package's modules that one module names in its import statements, with their packages."""
    found: set[str] = set()
    for node in _running_nodes(ast.parse(path_of(module, source).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE and _exists(name, source):
                parts = name.split(".")
                found |= {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
    return found


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _running_nodes(node)


def _exists(module: str, source: Path) -> bool:
    base = source.joinpath(*module.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def path_of(module: str, source: Path) -> Path:
    """Return the file of a module or package."""
    base = source.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def code_deps(stage: str, root: Path) -> list[str]:
    """Return the files, relative to root, whose change must re-run `stage`: its closure and the shell's.

    Package data (templates) beside a module of the closure counts as code.
    """
    source = root / "src"
    modules = closure(f"{PACKAGE}.stages.{stage}", source)
    for entry in ENTRY:
        modules |= closure(entry, source)
    files = {path_of(name, source) for name in modules}
    # A bare package marker imports nothing and decides nothing.
    files = {path for path in files if path.name != "__init__.py" or imports_something(path)}
    folders = {path.parent for path in files}
    templates = {path for folder in folders for path in folder.glob("*.j2")}
    return sorted(path.relative_to(root).as_posix() for path in files | templates)


def imports_something(path: Path) -> bool:
    """Return whether a package's `__init__.py` holds more than its docstring."""
    return len(ast.parse(path.read_text(encoding="utf-8")).body) > 1


def is_code(dep: str) -> bool:
    """Return whether a dependency of dvc.yaml is one this module keeps.

    >>> is_code("src/moodlens/base/errors.py"), is_code("data/audio")
    (True, False)
    """
    return dep.startswith("src/")


def rewrite(root: Path) -> bool:
    """Make the code dependencies of root/dvc.yaml equal to the closures; return whether the file changed."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = root / "dvc.yaml"
    before = path.read_text(encoding="utf-8")
    document = yaml.load(before)
    for name, stage in document["stages"].items():
        kept = [dep for dep in stage["deps"] if not is_code(dep)]
        stage["deps"] = [*code_deps(name, root), *kept]
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)
    return path.read_text(encoding="utf-8") != before


if __name__ == "__main__":
    print("dvc.yaml rewritten" if rewrite(Path()) else "dvc.yaml is current", file=sys.stderr)
