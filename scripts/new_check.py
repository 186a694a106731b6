"""Begin a check of a Case: its file and its registration. A check writes evidence and judges nothing.

python scripts/new_check.py training momentum-at-start --record FirstSteps --module optimisation --needs optimizer
"""

from __future__ import annotations

import argparse

from scaffolding import SOURCE, ScaffoldError, register, run, snake, tidy, write

CHECK = '''"""TODO: the question that this check asks, in one line."""

from __future__ import annotations

from traindx.checks.base import CheckContext, check
from traindx.evidence.{module} import {record}


@check("{name}", "TODO: one line for the progress bar", needs=({needs}))
def {function}(ctx: CheckContext) -> None:
    """TODO: the experiment and its known right answer. Random state, mode, hooks and weights are left as found."""
    raise NotImplementedError("{name} measures nothing yet; it ends with ctx.record({record}(...))")
'''


def main() -> None:
    subjects = sorted(path.name for path in (SOURCE / "checks").iterdir() if (path / "__init__.py").exists())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", help=f"one of {', '.join(subjects)}")
    parser.add_argument("name", help="kebab-case")
    parser.add_argument("--record", default="Curve", help="record type of src/traindx/evidence that it writes")
    parser.add_argument("--module", default="base", help="module of src/traindx/evidence that the record is in")
    parser.add_argument("--needs", nargs="*", default=["loss"], help="parts of the case, dotted")
    given = parser.parse_args()
    if given.subject not in subjects:
        raise ScaffoldError(f"there is no folder checks/{given.subject}: expected one of {', '.join(subjects)}")
    function = snake(given.name)
    path = SOURCE / "checks" / given.subject / f"{function}.py"
    needs = "".join(f'"{part}", ' for part in given.needs)
    words = {"name": given.name, "function": function, "record": given.record, "module": given.module, "needs": needs}
    write(path, CHECK.format(**words))
    tidy(path)
    register(
        SOURCE / "checks" / "__init__.py",
        f"    from traindx.checks.{given.subject}.{function} import {function}",
        "    return (",
        function,
    )


if __name__ == "__main__":
    run(main)
