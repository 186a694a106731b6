"""Count what the house was rebuilt for: lines, second copies of one thing, circles, old names.

    python benchmarks/house_counts.py            # this tree
    python benchmarks/house_counts.py 4de8044    # a commit, here the last one of version 0.1.0

Everything is read from the text of the tree, so that old and new commits are counted by the same rule; what each line
counts is said beside it. `tests/test_pipeline.py`, `test_layers.py`, `trials/test_trials_once.py` and `test_docs.py`
hold today's values.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

# Parts of names; words of the old vocabulary that are ordinary ones as well (arm, place, only, made) are not counted.
OLD_WORDS = frozenset(
    re.findall(
        r"\w+",
        "exam exams sits guilty innocent convict acquit acquitted cure cures cured company upkeep practice telling "
        "spoken heard listening yardstick dimmed wake shelf looks closeness burst remembering witness pauses fewest "
        "ledger journal worth",
    )
)
SHOWN = re.compile(r"\b(guilty|innocent|convict\w*|acquit\w*|cure[sd]?|exams?|yardsticks?|company|spoken)\b", re.I)


def sources(root: Path, folder: str = "src/traindx") -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((root / folder).rglob("*.py")):
        yield path.relative_to(root / folder).as_posix(), ast.parse(path.read_text("utf-8"))


def lines(root: Path, folder: str) -> str:
    texts = [path.read_text("utf-8", errors="replace") for path in (root / folder).rglob("*.py")]
    return f"{sum(text.count(chr(10)) for text in texts)} in {len(texts)} files"


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Those of a module and of its classes, without functions in functions."""
    for node in [*tree.body, *(inner for one in tree.body if isinstance(one, ast.ClassDef) for inner in one.body)]:
        if isinstance(node, ast.FunctionDef):
            yield node


def where(root: Path, does: Callable[[ast.FunctionDef], bool], without: tuple[str, ...] = ()) -> str:
    found = [
        f"{path}:{function.name}"
        for path, tree in sources(root)
        for function in functions(tree)
        if not path.startswith(without) and does(function)
    ]
    return f"{len(found)} ({', '.join(found)})" if found else "0"


def applies_rules(function: ast.FunctionDef) -> bool:
    """It asks one rule after another what it finds in evidence."""
    return any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("check", "decide")
        and call.args
        and ast.unparse(call.args[0]).endswith("evidence")
        for loop in ast.walk(function)
        if isinstance(loop, ast.For | ast.ListComp)
        for call in ast.walk(loop)
    )


def gives_outcome(function: ast.FunctionDef) -> bool:
    """It gives one of the diagnosis's outcomes; one that only compares with them does not count."""
    compared = {
        id(inner) for node in ast.walk(function) if isinstance(node, ast.Compare) for inner in ast.walk(node)
    }  # fmt: skip
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Outcome" and id(node) not in compared
        for node in ast.walk(function)
    )


def reads_messages(root: Path) -> str:
    """Comparisons of text with a finding's message."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(op, ast.In | ast.NotIn) for op in node.ops)
        and re.search(r"\b(finding|found)\.message$", ast.unparse(node.comparators[-1]))
    ]
    return f"{len(found)} ({', '.join(found)})" if found else "0"


def circles_of(root: Path) -> str:
    from test_layers import circles, import_graph

    found = [sorted(group) for group in circles(import_graph(root / "src" / "traindx"))]
    return f"{len(found)} ({'; '.join(f'{len(group)} modules, {group[0]} ...' for group in found)})" if found else "0"


def unprinted(root: Path) -> str:
    """Further deciders whose code's page lacks what they say they find, or one of their thresholds."""
    functions_by_name: dict[str, tuple[ast.FunctionDef, str]] = {}
    chains: list[ast.Call] = []
    for path, tree in sources(root, "src/traindx/rules"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                functions_by_name[node.name] = node, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "also":
                chains.append(node)
    missing = []
    for call in chains:
        name = ast.unparse(call.args[0]).rpartition(".")[2]
        if name not in functions_by_name:
            continue
        function, _ = functions_by_name[name]
        head = function.decorator_list[0]
        if not (isinstance(head, ast.Call) and head.args and isinstance(head.args[0], ast.Constant)):
            continue
        page = root / "docs" / "rules" / f"{head.args[0].value}.md"
        text = page.read_text("utf-8") if page.exists() else ""
        thresholds = [it.arg for it in head.keywords if it.arg and "Threshold(" in ast.unparse(it.value)]
        said = (ast.get_docstring(function) or "").split("\n")[0]
        if said not in text or not all(f"`{one}`" in text for one in thresholds):
            missing.append(f"{head.args[0].value} {name}")
    return f"{len(missing)} of {len(chains)}" + (f" ({', '.join(sorted(missing))})" if missing else "")


def old_names(root: Path) -> str:
    names: dict[str, int] = {}
    shown = 0
    for path in (root / "src" / "traindx").rglob("*.py"):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type == tokenize.NAME:
                parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", token.string)
                for word in OLD_WORDS & {part.lower() for part in parts}:
                    names[word] = names.get(word, 0) + 1
            elif token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
                shown += len(SHOWN.findall(token.string))
    most = ", ".join(f"{word} {count}" for word, count in sorted(names.items(), key=lambda item: -item[1])[:12])
    return f"{sum(names.values())} in names ({most}); {shown} in texts"


def second_treatments(root: Path) -> str:
    """Implementations of a treatment's side beyond the first; before the one engine, two folders had their own."""
    if (root / "src/traindx/observe/treatments").exists():
        script = {path.stem for path in (root / "src/traindx/observe/treatments").glob("*.py")}
        case = {path.stem for path in (root / "src/traindx/trials/treatments").glob("*.py")}
        same = {"clamp": "unclamp", "rate": "learning_rate", "term": "terms", "reference": "reference_schedule"}
        found = [f"{one} and {other}" for one, other in same.items() if one in script and other in case]
        return f"{len(found)} pairs of files ({', '.join(found)})"
    names: dict[str, list[str]] = {}
    for path, tree in sources(root, "src/traindx/trials/treatments"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Declared":
                name = ast.unparse(node.args[0] if node.args else node.keywords[0].value)
                names.setdefault(name, []).append(path)
    return f"{sum(len(paths) - 1 for paths in names.values())} of {len(names)}"


def longest(root: Path) -> str:
    long = [
        (text.count("\n"), path.relative_to(root / "src/traindx").as_posix())
        for path in (root / "src" / "traindx").rglob("*.py")
        for text in [path.read_text("utf-8")]
        if text.count("\n") > 400
    ]
    return f"{len(long)} ({', '.join(f'{path} {count}' for count, path in sorted(long, reverse=True))})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="this tree, if none is given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = ROOT
        if given.commit:
            packed = subprocess.run(["git", "archive", given.commit], cwd=ROOT, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(folder, filter="data")
            root = Path(folder)
        print(f"lines of src: {lines(root, 'src')}")
        print(f"lines of tests: {lines(root, 'tests')}")
        print(f"loops that apply rules: {where(root, applies_rules, ('rules/',))}")
        print(f"functions that give an outcome: {where(root, gives_outcome, ('diagnosis.py', 'report/'))}")
        print(f"treatments implemented twice: {second_treatments(root)}")
        print(f"circles of imports: {circles_of(root)}")
        print(f"text looked for in a finding's message: {reads_messages(root)}")
        print(f"further deciders without their page: {unprinted(root)}")
        print(f"old words: {old_names(root)}")
        print(f"files above 400 lines: {longest(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
