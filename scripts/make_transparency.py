"""Write the list of idioms under which a watched run is compared with an unwatched one, ``docs/transparency.md``.

python scripts/make_transparency.py            write it
python scripts/make_transparency.py --check    write nothing; exit 1 if it is not up to date
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "watch" / "transparency"
PAGE = ROOT / "docs" / "transparency.md"

HEAD = """\
<!-- Made by scripts/make_transparency.py from tests/watch/transparency; change it there. -->

# Watching changes nothing

Each idiom below is run unwatched, watched with every iteration in full, and watched as `examine` does with a window
that ends in the midst of it. The runs must be equal in the weights bit for bit, in everything that is printed on
standard output and standard error (warnings with their file and line among it), in the exit code, in the files written,
in the states of all random generators, and in the exact types of what the script gets back; and no part of the watching
may have failed. Whole programs run in processes of their own.

`python tests/watch/transparency/idioms/FILE.py NAME` runs an idiom by hand, and
`traindx examine tests/watch/transparency/idioms/FILE.py --no-stop -- NAME` under observation.
"""


def titles(path: Path) -> list[tuple[str, str]]:
    """Names and titles of the idioms in a file."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.args.args:
            title = ast.get_docstring(node)
            if title:
                found.append((node.name, title))
    return found


def first_lines(path: Path) -> str:
    """A module's docstring without its full stop."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0].rstrip(".")


def page() -> str:
    """The whole page."""
    blocks, total = [], 0
    for path in sorted((SUITE / "idioms").glob("*.py")):
        if path.stem == "kit":
            continue
        rows = titles(path)
        total += len(rows)
        lines = "\n".join(f"* {title} (`{name}`)" for name, title in rows)
        blocks.append(f"## {first_lines(path)} (`{path.name}`)\n\n{lines}\n")
    programs = [path for path in sorted((SUITE / "programs").glob("*.py")) if path.stem != "loop"]
    lines = "\n".join(f"* {first_lines(path)} (`{path.name}`)" for path in programs)
    blocks.append(f"## Programs\n\n{lines}\n* a package that is run by `-m` (`packaged`)\n")
    count = f"{total} idioms and {len(programs) + 1} programs. {expected_to_fail()}\n"
    return "\n".join([HEAD, count, *blocks])


def expected_to_fail() -> str:
    """A sentence on what the watching is known to change."""
    for node in ast.parse((SUITE / "known.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            names = sorted({ast.literal_eval(key)[0] for key in node.value.keys if key is not None})
            return f"Expected to fail: {', '.join(names)}." if names else "None is expected to fail."
    return ""


def main(argv: Sequence[str]) -> int:
    """Write the page, or check it."""
    if "--check" in argv:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print("docs/transparency.md is not up to date: run `python scripts/make_transparency.py`", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
