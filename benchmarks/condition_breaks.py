"""Every break of the rules that tables of conditions reach, and how many of them the tables notice.

    python benchmarks/condition_breaks.py

`tests/rules/test_conditions_*.py` give each form of a rule a record that is just enough, and what each of its numbers
may not be. Here each decision in the files of these rules is broken as `mutation_check.py` breaks it, the broken rule
is loaded beside the right one and asked about every row of its own. Neither pytest nor forks: seconds for 1500 breaks.
What goes past the tables is printed; other tests may notice it. Exit code 1 below 95 %.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / part) for part in ("benchmarks", "tests", "tests/rules")]
LEAST = 0.95


def main() -> int:
    """Break, ask, count."""
    from mutation_check import breaks_of

    import conditions
    from traindx.rules import catalogue
    from traindx.rules.base import Rule

    known = dict(catalogue())
    names = sorted(path.stem for path in (ROOT / "tests" / "rules").glob("test_conditions_*.py"))
    by_file: dict[str, list[Any]] = {}
    for row in (row for name in names for row in importlib.import_module(name).ROWS):
        by_file.setdefault(row.decider().function.__code__.co_filename, []).append(row)
    tried = noticed = 0
    for file, rows in sorted(by_file.items()):
        text = Path(file).read_bytes()
        name = ".".join(Path(file).relative_to(ROOT / "src").with_suffix("").parts)
        for one in breaks_of(Path(file)):
            broken = ModuleType(name)
            broken.__file__, broken.__package__ = file, name.rpartition(".")[0]
            exec(compile(text[: one.begin] + one.made.encode() + text[one.end :], file, "exec"), vars(broken))
            forms = [value for value in vars(broken).values() if isinstance(value, Rule)]
            conditions.catalogue = lambda forms=forms: {
                code: SimpleNamespace(deciders=[form for form in forms if form.code == code], limits=rule.limits)
                for code, rule in known.items()
            }
            tried += 1
            if any(_fails(row, *case.values[1:]) for row in rows for case in row.cases()):
                noticed += 1
            else:
                print(one)
    conditions.catalogue = catalogue
    print(f"{noticed} of {tried} breaks in {len(by_file)} files noticed ({noticed / tried:.1%})")
    return 0 if noticed >= LEAST * tried else 1


def _fails(row: Any, *case: Any) -> bool:
    try:
        row.check(*case)
    except Exception:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
