"""D155 evaluation-asks-for-unseen-classes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ClassesAsked
from traindx.finding import Location, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D155",
    "evaluation-asks-for-unseen-classes",
    Severity.MAJOR,
    needs=(ClassesAsked,),
    looked_at=requires(
        ClassesAsked,
        lambda one, limits: enough(one, limits) and not one.on_purpose,
        otherwise="too few items with a class were seen in training and evaluation, or new classes are meant",
    ),
    thing="evaluations that ask for classes beside a training",
    trained=Threshold(200, "items of the training: chance shows none of a class with a tenth of them at 7e-10"),
    asked=Threshold(30, "items of the evaluation"),
    mixed=Threshold(0.8, "of the batches have several classes: those looked at stand for the rest"),
    expected=Threshold(12.0, "items of a class that training would have had by now; chance brings none at e^-12"),
    unseen=Threshold(0.3, "of the evaluation's items; of a class that is merely rare there are fewer"),
    one_class=Threshold(0.99, "of a whole evaluation are of one class, and of a training item at most `other` are"),
    other=Threshold(0.7, "of the training's items are of that class: 30 items of it alone are drawn at .7^30 = 2e-5"),
)
def evaluation_asks_for_unseen_classes(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Evaluation asks for classes that training does not show, or for one class alone.

    What it finds:
        Data that lie sorted by class and are cut without being shuffled: the first four fifths to train on, the last to
        validate. A list of files by folder, a table sorted by its outcome, recordings in the order of their making.
    Why it stops learning:
        The network learns what it is shown, and is asked for something else: the training figure is excellent and that
        of the validation at zero, which looks like overfitting. Or validation has one class, and any network that
        always answers with it is perfect.
    Evidence it needs:
        ClassesAsked (a watched script whose loss takes classes).
    How it decides:
        At least `trained` items of the training and `asked` of an evaluation were counted: all of a pass, or those of
        batches of which `mixed` have several classes. A class is unseen where training has none of it, and would have
        had `expected` items if it came as often as in the evaluation; `unseen` of the evaluation's items are of
        such classes. Or `one_class` of a whole evaluation is of one class, of which training has at most `other`, and
        no other evaluation has another. `suspected`. Nothing is said of programs that speak of new classes (zero-shot,
        open-set, few-shot, incremental learning, anomalies).
    Remedy:
        Shuffle before the cut, with one seed, or divide each class in the same proportion.
    Trial it proposes:
        None; fix it.
    Known false positives:
        New classes on purpose in a program that does not say so.
    References:
        Kohavi, A study of cross-validation and bootstrap, IJCAI 1995 (stratification).
    """
    told: list[Location | None] = []
    seen = [one for one in evidence.of(ClassesAsked) if enough(one, limits) and not one.on_purpose]
    for one in seen:
        trained, asked = dict(one.training), dict(one.evaluation)
        items, total = sum(asked.values()), sum(trained.values())
        if max(asked) >= one.classes or (one.divided_at or one.where) in told:
            continue
        unseen = [
            each for each, count in asked.items() if not trained.get(each) and count / items * total >= limits.expected
        ]
        share = sum(asked[each] for each in unseen) / items
        numbers = {"evaluated": items, "trained": total}
        place = one.divided_at or one.where
        remedy = "Shuffle the items, with a fixed seed, before they are cut into parts, or divide class by class "
        remedy += "(`stratify=`): they lie in the order of their classes."
        if share >= limits.unseen:
            told.append(place)
            yield Found(
                variant="unseen",
                message=f"{share:.0%} of the {items} items that evaluation asks for are of class "
                f"{_listed(unseen)}, and none of the {total} that training read is: it shows {_listed(trained)}.",
                location=place,
                numbers={**numbers, "unseen": share},
                remedy=remedy,
            )
            continue
        most = max(asked, key=lambda each: asked[each])
        alone = asked[most] >= limits.one_class * items and one.evaluation_whole and len(trained) > 1
        elsewhere = any(set(dict(other.evaluation)) - {most} for other in seen if other is not one)
        if alone and not elsewhere and trained.get(most, 0) <= limits.other * total:
            told.append(place)
            yield Found(
                variant="one-class",
                message=f"{asked[most]} of the {items} items that evaluation asks for are of class {most}, as are "
                f"{trained.get(most, 0)} of the {total} that training read: what always answers {most} is perfect.",
                location=place,
                numbers={**numbers, "trained_of_it": trained.get(most, 0)},
                remedy=remedy,
            )


def enough(one: ClassesAsked, limits: Limits) -> bool:
    """Items on both sides that stand for the rest."""
    trained, asked = dict(one.training), dict(one.evaluation)
    if sum(trained.values()) < limits.trained or sum(asked.values()) < limits.asked or len(trained) < 2:
        return False
    mixed = one.training_mixed >= limits.mixed * max(one.training_batches, 1) and one.training_batches > 4
    return one.training_whole or mixed


def _listed(classes: object) -> str:
    """Some classes of many."""
    numbers = sorted(classes)  # type: ignore[call-overload]
    return ", ".join(str(one) for one in numbers[:8]) + (" ..." if len(numbers) > 8 else "")
