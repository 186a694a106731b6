"""Losses that are given a prediction and never read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import LossArguments
from traindx.watch.probes.functions.common import number, parts_of, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk

LOSSES = {"loss", "losses", "criterion", "objective", "cost", "penalty", "energy", "elbo", "nll"}
WHOLE = {"locals", "vars", "globals"}  # functions that read every argument


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is named for a loss and returns a number."""
    done: set[Any] = set()
    for call in calls:
        node = definition_of(call.code)
        if node is None or call.code in done or not LOSSES & set(words(call.code.co_name)):
            continue
        if not call.learned or not any(number(torch, part) is not None for _, part in parts_of(call.result)):
            continue
        done.add(call.code)
        unread = [name for name in call.args if name in call.learned and not _reads(node, name)]
        if unread and _one_of_many(call, node):
            continue  # a signature that several losses share
        caller = call.caller
        yield LossArguments(
            function=call.shown,
            predictions=len(call.learned),
            unread=unread[0] if unread else "",
            where=caller.location() if caller is not None else call.at(None).location(),
        )


def _reads(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    if name.startswith("_"):
        return True
    for one in walk(node):
        if isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Store):
            return True
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in WHOLE:
            return True
    return False


def _one_of_many(call: RecordedCall, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Another function of the file takes the same arguments: whoever calls them does not choose between the two."""
    tree = parsed(call.code.co_filename)
    own = [one.arg for one in node.args.args]
    return any(
        isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        and one.lineno != node.lineno
        and [part.arg for part in one.args.args] == own
        for one in (walk(tree) if tree is not None else ())
    )


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function is named for a loss and has an argument that it never reads."""
    if not LOSSES & set(words(node.name)):
        return False
    return any(not _reads(node, one.arg) for one in (*node.args.args, *node.args.kwonlyargs) if one.arg != "self")
