"""``traindx faults``: the catalogue of reproducible faults."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

EXAMPLES = ("traindx faults", "traindx faults list --json")

FIELDS = ("name", "recipe", "postmortem", "expected_rule", "documented_diagnosis")


def faults(
    action: Annotated[Literal["list"], typer.Argument(help="What to do")] = "list",
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON")] = False,
) -> None:
    """List every reproducible fault: its recipe, the rule that must find it, whether its documented cause was right."""
    from traindx.cli import catalogues

    listed = list(catalogues.faults().values())
    if as_json:
        entries = [{field: _plain(getattr(fault, field)) for field in (*FIELDS, "title")} for fault in listed]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for recipe in dict.fromkeys(fault.recipe for fault in listed):
        console.print(Text(recipe, style="bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for head in ("fault", "found by", "documented cause", "what it is"):
            table.add_column(head, no_wrap=head != "what it is")
        for fault in listed:
            if fault.recipe == recipe:
                documented = str(_plain(fault.documented_diagnosis) or "")
                table.add_row(fault.name, str(_plain(fault.expected_rule) or "none"), documented, fault.title)
        console.print(table)
    console.print(Text(f"{len(listed)} faults; `traindx examine recipe:NAME --fault FAULT`", style="dim"))


def _plain(value: object) -> object:
    """Enumerations by value, tuples as lists, the rest as it is."""
    if isinstance(value, tuple | list | frozenset | set):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)
