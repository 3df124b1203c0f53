"""`python -m moodlens.docs` writes the figures of all pages; with `--check` it only says what is stale.

Exit status: 0 all is well, 1 a page is stale or names what does not exist, 2 wrong use.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from moodlens.base.command import exit_status
from moodlens.base.errors import MoodLensError, UsageError, must
from moodlens.docs.figures import filled
from moodlens.docs.names import Project, missing_names


def pages(root: Path) -> list[Path]:
    """Return the pages that a person writes: the documentation, README and CONTRIBUTING."""
    return [*sorted((root / "docs").glob("*.md")), root / "README.md", root / "CONTRIBUTING.md"]


def stale_lines(path: Path, root: Path) -> Iterator[str]:
    """Yield a line for each line of a page whose figures differ from their sources."""
    page = path.read_text()
    try:
        fresh = filled(page, root)
    except MoodLensError as error:
        yield f"{path.relative_to(root)}: {error}"
        return
    pairs = zip(page.splitlines(), fresh.splitlines(), strict=True)
    for number, (old, new) in enumerate(pairs, 1):
        if old != new:
            yield f"{path.relative_to(root)}:{number} is stale\n  has     {old}\n  sources {new}"


def main(argv: list[str] | None = None) -> int:
    """Write or check the pages of the working folder."""
    parser = argparse.ArgumentParser(prog="python -m moodlens.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    check = parser.parse_args(argv).check
    return exit_status(lambda: _run(Path.cwd(), check), kept="pages written so far are whole")


def _run(root: Path, check: bool) -> int:
    if not (root / "docs").is_dir():
        where = must(
            "the working folder", "hold docs/", str(root), next_step="Run it in the repository's root"
        )
        raise UsageError(where)
    faults, project = 0, Project(root)
    for path in pages(root):
        lines = list(stale_lines(path, root)) if check else []
        if not check:
            page = path.read_text()
            fresh = filled(page, root)
            if fresh != page:
                path.write_text(fresh)
                print(f"written: {path.relative_to(root)}")
        lines += [f"{path.relative_to(root)}: {fault}" for fault in missing_names(path.read_text(), project)]
        faults += len(lines)
        for line in lines:
            print(line)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
