"""What the ``new_*`` scripts share: names, registration in a list, and writing files that are not there yet."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "traindx"


class ScaffoldError(Exception):
    """Something stands in the way; the message says what and what to do."""


def snake(name: str) -> str:
    """``step-too-small`` as a Python name."""
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not found.isidentifier():
        raise ScaffoldError(f"{name!r} is no name: expected words in kebab case, such as step-too-small")
    return found


def camel(name: str) -> str:
    """``step-too-small`` as a class name."""
    return "".join(part.capitalize() for part in snake(name).split("_"))


def write(path: Path, text: str) -> None:
    """Write a new file; an existing one is never touched."""
    if path.exists():
        raise ScaffoldError(f"{path.relative_to(ROOT)} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


def register(path: Path, statement: str, opening: str, entry: str, before: str = "") -> None:
    """Add an import, which ruff puts in its place, and an entry to the list that begins with ``opening``.

    The entry goes before the one that is named, else to the end of the list.
    """
    text = path.read_text(encoding="utf-8")
    begin = text.find(opening)
    if begin < 0:
        raise ScaffoldError(f"{path.relative_to(ROOT)} has no {opening!r}: register it by hand")
    indent, end = re.match(r"[ \t]*", text[text.rfind("\n", 0, begin) + 1 :]).group(), begin  # type: ignore[union-attr]
    end = text.index(f"\n{indent})", begin)
    if before:
        end = text.index(f"\n{indent}    {before},", begin, end)
    text = text[:end] + f"\n{indent}    {entry}," + text[end:]
    margin = statement[: len(statement) - len(statement.lstrip())]
    first = re.search(rf"^{margin}from traindx", text, re.MULTILINE)
    assert first is not None
    text = text[: first.start()] + f"{statement}\n" + text[first.start() :]
    path.write_text(text, encoding="utf-8")
    tidy(path)
    print(f"registered in {path.relative_to(ROOT)}")


def tidy(*paths: Path) -> None:
    """Format, and sort the imports."""
    for words in (["check", "-q", "--fix", "--select", "I"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, *map(str, paths)], check=False, cwd=ROOT)


def run(main) -> None:  # type: ignore[no-untyped-def]
    """Call a script's function; what stands in the way is one line and exit code 2."""
    try:
        main()
    except ScaffoldError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
