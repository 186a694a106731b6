"""Label values that a project says are not annotated: in its sources, its configuration, beside its data."""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from traindx.core.frames import shown_path
from traindx.watch.runtime.source_trees import source_files

WORDS = (
    r"(?:un-?labell?ed|un-?annotated|not[ _-](?:yet[ _-])?(?:labell?ed|annotated)|no[ _-](?:label|annotation)"
    r"|without[ _-](?:label|annotation)|ignored?(?![ _-]?\w*warning)|ignore[ _-]?(?:index|label|value|class|id|idx)"
    r"|un-?segmented|void|don'?t[ _-]?care|to be ignored)"
)
NUMBER = r"(?P<value>\d{1,4})(?![\d.%])"
ENDS = r"(?=\s*(?:$|[\"',;.:)\]}/|#-]|(?:and|or|so|voxels?|pixels?|regions?|areas?|label|class|in the)\b))"
SAYS = (
    re.compile(rf"(?<![\w.\-]){NUMBER}[\"']?\s*(?:=|==|:|=>|->|–|—|-|is|are|means|stands for)\s*[\"']?(?:the |an? )?"
               rf"(?:\w+ )?{WORDS}{ENDS}", re.IGNORECASE),
    re.compile(rf"(?<![\w.\-]){NUMBER}\s*\((?:the |an? )?{WORDS}\b", re.IGNORECASE),
    re.compile(rf"\b{WORDS}(?:[ _-](?:value|label|index|voxels?|pixels?|regions?|class|id))*[\"']?\s*"
               rf"(?:=|:|\(|is|are|->)\s*[\"'(\[]*(?:label |value )?{NUMBER}", re.IGNORECASE),
    re.compile(rf"(?:label|value|class)[ _](?:of )?{NUMBER}\b[^.;\n]{{0,24}}?\b{WORDS}\b", re.IGNORECASE),
    re.compile(rf"^\s*\w*(?:IGNORE|UNLABELL?ED|VOID|UNANNOTATED)\w*\s*=\s*{NUMBER}\s*(?:#.*)?$"),
)  # fmt: skip
ON_PURPOSE = re.compile(
    r"\b(?:merge[ds]?|merging|treat(?:ed|s)?|count(?:s|ed)?|include[sd]?|on purpose|deliberate\w*|both|any|all|whole|"
    r"everything|union|together|collapse\w*|as (?:fore|back)ground)\b",
    re.IGNORECASE,
)
BESIDE_DATA = ("dataset.json", "readme", "label", "classes", "meta", "info", "description")
SETTINGS = (".yaml", ".yml", ".json", ".toml", ".cfg", ".ini")
MOST_FILES = 40
MOST_BYTES = 200_000
MOST_LINE = 400  # of one line of text: longer ones are data


def declarations(values: set[float], data: list[Path]) -> dict[float, str]:
    """What is said of each value, with file and line, for those of which something is said.

    Args:
        values: The values in question.
        data: Files that were read.
    """
    found: dict[float, str] = {}
    for path, number, text in _lines(data):
        for form in SAYS if len(text) <= MOST_LINE else ():
            for match in form.finditer(text):
                value = float(match["value"])
                if value in values and value not in found:
                    found[value] = f"“{' '.join(text.split())[:80]}” in {shown_path(path)}:{number}"
    return found


def _lines(data: list[Path]) -> Iterator[tuple[str, int, str]]:
    for name in source_files():
        text = _text(Path(name))
        for number, line in enumerate(text.splitlines(), 1):
            yield name, number, line
    for path in _files(data):
        for number, line in enumerate(_text(path).splitlines(), 1):
            yield str(path), number, line


def _files(data: list[Path]) -> list[Path]:
    """Settings and texts in the folders of the script, and those beside the data that tell of them."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    scripts = {Path.cwd(), *([Path(main).resolve().parent] if main else [])}
    scripts |= {folder / "configs" for folder in scripts} | {folder / "config" for folder in scripts}
    beside = {folder for path in data[:8] for folder in list(path.parents)[:2]} - scripts
    found = [one for folder in sorted(scripts) for one in _in(folder) if one.suffix.lower() in SETTINGS or _reads(one)]
    found += [one for folder in sorted(beside) for one in _in(folder) if _reads(one)]
    return found[:MOST_FILES]


def _reads(path: Path) -> bool:
    name = path.name.lower()
    known = path.suffix.lower() in (*SETTINGS, ".md", ".txt", ".rst", "")
    return known and name.startswith(BESIDE_DATA)


def _in(folder: Path) -> list[Path]:
    try:
        with_names = sorted(one for one in folder.iterdir() if one.suffix.lower() in (*SETTINGS, ".md", ".txt", ".rst"))
        return [one for one in with_names if one.is_file()][: 4 * MOST_FILES]
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace") if path.stat().st_size <= MOST_BYTES else ""
    except OSError:
        return ""


def meant_at(file: str, line: int) -> bool:
    """True if a comment at a line, or right above it, says that values are put together."""
    lines = _text(Path(file)).splitlines()
    return any(
        ON_PURPOSE.search(comment)
        for number in range(max(line - 2, 1), min(line + 1, len(lines)) + 1)
        for comment in _comments(lines[number - 1])
    )


def _comments(line: str) -> list[str]:
    try:
        return [
            one.string for one in tokenize.generate_tokens(io.StringIO(line).readline) if one.type == tokenize.COMMENT
        ]
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return [line] if line.lstrip().startswith("#") else []
