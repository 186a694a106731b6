"""``traindx faults``: the catalogue of reproducible faults."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

EXAMPLES = ("traindx faults", "traindx faults list --json")

FIELDS = ("name", "recipe", "postmortem", "expected_rule", "documented_diagnosis", "title", "claim", "truth")


def faults(
    action: Annotated[Literal["list"], typer.Argument(help="What to do")] = "list",
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON")] = False,
) -> None:
    """List every reproducible fault: its recipe, the rule that must find it, whether its documented cause was right."""
    from traindx.cli import catalogues

    listed = list(catalogues.faults().values())
    if as_json:
        entries = [{field: getattr(fault, field) for field in FIELDS} for fault in listed]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for recipe in dict.fromkeys(fault.recipe for fault in listed):
        console.print(Text(recipe, style="bold"))
        mine = [fault for fault in listed if fault.recipe == recipe]
        width = max(len(fault.name) for fault in mine)
        for fault in mine:
            rule = fault.expected_rule or "none"
            console.print(Text(f"  {fault.name:{width}}  found by {rule:6} documented: {fault.documented_diagnosis}"))
            console.print(Padding(Text(fault.title, style="dim"), (0, 0, 0, 6)))
    console.print(Text(f"{len(listed)} faults; `traindx examine recipe:NAME --fault FAULT`", style="dim"))
