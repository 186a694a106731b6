"""C1114 statement-without-effect."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import IdleStatement
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule

_SAYS = {
    "not-called": ("`{source}` names a method and does not call it: nothing happens.", "Write `{source}()`."),
    "no-such-flag": (
        "`{source}` makes a new attribute: the one that torch reads is called requires_grad, and stays as it was.",
        "Write requires_grad.",
    ),
    "module-flag": (
        "`{source}` sets a field of the module that nothing reads: its weights still take gradients.",
        "Call `module.requires_grad_(False)`.",
    ),
    "shared-attribute": (
        "`{source}` sets it for every part of the split: they share one data set, and what was set through another "
        "part is gone.",
        "Give every part a data set of its own, for example Subset(copy.copy(data), indices).",
    ),
    "compared": (
        "`{source}` compares and does nothing with the answer: the value stays as it is.",
        "Write a single = to assign.",
    ),
    "method-overwritten": (
        "`{source}` puts a value in the place of the method {detail}, which is not called by that: nothing changes.",
        "Call the method.",
    ),
    "near-name": (
        "`{source}` sets a field that nothing reads, neither the sources nor the object's class; there is {detail}.",
        "Write {detail}, if that is what is meant.",
    ),
    "option-later": (
        "`{source}` sets an option that {detail} reads when it is made, and never again.",
        "Give it to the constructor.",
    ),
    "size-field": (
        "`{source}` changes the number that the layer shows, and not its weight, which is of shape {detail}.",
        "Put a new layer of that size in its place, before the optimiser is made.",
    ),
    "group-field": (
        "`{source}` sets something that no step reads: the optimiser's groups have {detail}, and that acts.",
        "Set it in every group: for group in optimizer.param_groups: group[...] = ...",
    ),
    "overwritten": (
        "`{source}` takes the place of `{detail}` before anything reads it: what was computed there is lost.",
        "Leave one of the two out, or give one another name.",
    ),
}
_SUSPECTED = ("near-name", "overwritten")


@rule("C1114", "statement-without-effect", Severity.MAJOR, needs=(IdleStatement,))
def statement_without_effect(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A statement that does nothing of what it says.

    What it finds:
        `model.eval` without parentheses; `p.require_grad = False`; `model.encoder.requires_grad = False` on a module;
        `train.dataset.transform = a` and `val.dataset.transform = b` after one `random_split`; `p.requires_grad ==
        False` as a statement; `model.train = False`; `optimizer.lr = 1e-4`; `model.fc.out_features = 2`;
        `loader.shuffle = True`; a field with a misspelt name; a sum whose name is given another value at once.
    Why it stops learning:
        The mode, the freezing or the augmentation that the script relies on is not in force.
    Evidence it needs:
        IdleStatement (a watched script).
    How it decides:
        The sources that were loaded, and the fields of modules, optimisers, loaders and data sets that were alive. None
        of these statements can have the effect that it names: `demonstrated`. A field that nothing reads, neither in
        the sources of the script nor in those of the object's class, and that is named nearly as one that the object
        has, is `suspected`; so are a flag of what only the sources say is a module, and arithmetic whose name is given
        another value in the same block before it is read. Programs of which not all sources are read are left alone.
    Remedy:
        Per statement.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A property of the script's own with the name of such a method, that does something when it is read.
    References:
        PyTorch documentation, `torch.nn.Module.requires_grad_`.
    """
    for one in evidence.of(IdleStatement):
        message, remedy = _SAYS[one.form]
        yield Found(
            variant=one.form,
            message=message.format(source=one.source, detail=one.detail),
            standing=Standing.SUSPECTED if one.form in _SUSPECTED or one.detail == "sources" else Standing.DEMONSTRATED,
            location=one.where,
            remedy=remedy.format(source=one.source, detail=one.detail),
        )
