"""The command line: ``traindx COMMAND ...``. Commands import what is heavy when they run, never before."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from traindx.cli import (
    compare,
    data,
    demo,
    doors,
    evaluate,
    examine,
    explain,
    export,
    failure,
    faults,
    fix,
    predict,
    prognosis,
    restore,
    rules,
    runs,
    train,
)
from traindx.errors import TraindxError
from traindx.version import __version__

app = typer.Typer(
    name="traindx",
    help="Why does this medical-imaging model not learn, how do you know, and what makes it learn?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}


def _examples(lines: Sequence[str]) -> str:
    """The end of a command's help. Each example is a paragraph, and works as it is printed."""
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *[f"  {line}" for line in lines]])


def _add(
    function: Callable[..., Any],
    examples: Sequence[str],
    *,
    passes_on: bool = False,
    kind: type[TyperCommand] | None = None,
) -> None:
    settings = _PASSED_ON if passes_on else {}
    app.command(function.__name__, epilog=_examples(examples), context_settings=settings, cls=kind)(function)


# One line a command; the module holds everything else about it.
_add(demo.demo, demo.EXAMPLES)
_add(examine.examine, examine.EXAMPLES, kind=doors.AsTyped)
_add(compare.compare, compare.EXAMPLES)
_add(data.data, data.EXAMPLES)
_add(fix.fix, fix.EXAMPLES)
_add(runs.runs, runs.EXAMPLES)
_add(restore.restore, restore.EXAMPLES)
_add(prognosis.prognosis, prognosis.EXAMPLES)
_add(explain.explain, explain.EXAMPLES)
_add(rules.rules, rules.EXAMPLES)
_add(faults.faults, faults.EXAMPLES)
_add(train.train, train.EXAMPLES, passes_on=True)
_add(predict.predict, predict.EXAMPLES, passes_on=True)
_add(evaluate.evaluate, evaluate.EXAMPLES, passes_on=True)
_add(export.export, export.EXAMPLES, passes_on=True)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"traindx {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop")
    ] = False,
) -> None:
    """Why does this medical-imaging model not learn, how do you know, and what makes it learn?"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; messages are on stderr by then."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] != ["restore"]:
        restore.first_of_all()
    try:
        app(arguments, prog_name="traindx", obj={"argv": arguments})
    except SystemExit as end:  # the normal way out of a command
        return end.code if isinstance(end.code, int) else 0 if end.code is None else TraindxError.exit_code
    except TraindxError as error:
        failure.say(error)
        return error.exit_code
    except KeyboardInterrupt:
        return failure.INTERRUPTED
    except Exception as error:
        failure.say_unexpected(error)
        return TraindxError.exit_code
    return 0


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show ε̂ gets a question mark, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run())
