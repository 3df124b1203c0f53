"""The code that a result depends on: the import closure of a module as files, as rooms, and as a digest.

DVC compares the folders that a stage lists in dvc.yaml, and a test compares those folders with `rooms_of`.
A shard task is finer: `made_by` digests only the files that determine its bytes, so that an edit elsewhere in
a room leaves finished shards valid.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from moodlens.store.receipts import code_digest, library_versions

PACKAGE = "moodlens"
SHELL = "moodlens.stages.shell"
"""Runs every stage; part of each stage's code."""
NO_RESULT = ("moodlens", "moodlens.stages", "moodlens.stages.__main__")
"""The package, its `stages` and the entry point: they name the stages and compute nothing."""
SCHEMA = "moodlens.params"
"""Types and bounds of the parameters. DVC compares the values themselves, so this room is no dependency."""
SHARD_ROOMS = (
    "attention",
    "audio",
    "backends",
    "codes",
    "capture",
    "forks",
    "use",
    "prompts",
    "base",
    "store",
)
"""Rooms whose code determines the bytes of a shard: a change there makes shards stale."""
SHARD_LIBRARIES = ("torch", "transformers", "numpy", "safetensors", "soundfile")


def closure(module: str, source: Path) -> set[str]:
    """Return the modules of the package that `module` imports, itself included; `source` is the src folder.

    Imports inside functions count; imports under `if TYPE_CHECKING:` do not run and do not count.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports(name, source) - seen)
    return seen


def imports(module: str, source: Path) -> set[str]:
    """Return the package's modules that one module names in its import statements, with their packages."""
    modules: set[str] = set()
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
                modules |= {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
    return modules


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


def stage_module(stage: str, source: Path) -> str:
    """Return the module that holds `run` of a stage: `stages/<name>.py`, or `stages/<name>/stage.py`."""
    name = f"{PACKAGE}.stages.{stage}"
    return f"{name}.stage" if _exists(f"{name}.stage", source) else name


def code_files(module: str, source: Path) -> list[Path]:
    """Return the files, sorted, that a module and the stage shell consist of: both import closures."""
    return sorted({path_of(name, source) for name in closure(module, source) | closure(SHELL, source)})


def rooms_of(module: str, source: Path, runner: str = SHELL) -> list[str]:
    """Return the rooms that a module and its runner depend on, as sorted paths relative to `source`.

    A room is a folder of the package. Of `stages/` only the stage's own file or folder and the shell count.
    The parameter schema (`SCHEMA`) and modules that compute nothing (`NO_RESULT`) are left out.
    """
    rooms = set()
    for name in closure(module, source) | closure(runner, source):
        if name in NO_RESULT or name.startswith(SCHEMA):
            continue
        parts = name.split(".")
        room = parts[:3] if parts[1] == "stages" else parts[:2]
        path = source.joinpath(*room)
        rooms.add((path if path.is_dir() else path.with_suffix(".py")).relative_to(source).as_posix())
    return sorted(rooms)


def made_by(module: str) -> dict[str, object]:
    """Return what determines the bytes of a shard task beside its parameters, for its fingerprint.

    Args:
        module: of the task. The digest covers the module and its imports from `SHARD_ROOMS`.

    Returns:
        `code`, a digest of those files; `libraries`, the versions of `SHARD_LIBRARIES`.
    """
    source = Path(__file__).parents[2]
    prefixes = tuple(f"{PACKAGE}.{room}." for room in SHARD_ROOMS)
    modules = {name for name in closure(module, source) if name.startswith(prefixes)} | {module}
    code = code_digest(path_of(name, source) for name in modules)
    return {"code": code, "libraries": library_versions(SHARD_LIBRARIES)}
