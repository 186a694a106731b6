"""What functions of the user's must do by what they are: each module tries one relation on recorded calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from traindx.watch.probes.functions import (
    anchors,
    concordance,
    figures,
    integers,
    inverses,
    label_maps,
    moved,
    only_reads,
    padding,
    places,
    rankings,
    reloaded,
    reshaped,
    scores,
    splits,
    through_network,
    two_views,
    unread,
    windows,
)
from traindx.watch.probes.functions.common import words
from traindx.watch.runtime.syntax import walk

MODULES = (
    inverses,
    label_maps,
    padding,
    two_views,
    anchors,
    figures,
    scores,
    concordance,
    rankings,
    reshaped,
    splits,
    reloaded,
    moved,
    places,
    unread,
    integers,
    windows,
    through_network,
    only_reads,
)
FAMILIES = tuple(one.tried for one in MODULES)
"""Each is given the script's torch and all recorded calls, and yields records."""


def any_relevant(trees: Iterable[ast.Module]) -> bool:
    """True if some function in these sources could be tried at all; a class is one by its name, too."""
    for node in (node for tree in trees for node in walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(module.relevant(node) for module in MODULES):
                return True
        elif isinstance(node, ast.ClassDef) and two_views.NAMES & set(words(node.name)):
            return True
    return False


def any_figure(trees: Iterable[ast.Module]) -> bool:
    """True if some function in these sources could make a figure of what a whole evaluation has gathered."""
    return any(
        any(one.relevant(node) for one in (figures, scores, concordance, only_reads))
        for tree in trees
        for node in walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
