"""What must hold in every training, and which rules watch it: relations between things that any training has.

A rule belongs to the relation whose breaking it reports. A new rule is added to a relation here, or brings a new one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """Something that must hold.

    Attributes:
        stage: Between which parts of a training.
        holds: The statement, one sentence.
        codes: Rules that report where it is broken.
        unseen: What none of them can see.
    """

    stage: str
    holds: str
    codes: tuple[str, ...]
    unseen: str = ""


_DATA, _INPUT = "Files → batch", "Batch → network"
_LOSS, _UPDATE = "Network → loss", "Loss → update"
_FIGURE, _STATE = "Output → figure", "State"
_SAMPLING, _RENDER = "Sampling", "Projection"

RELATIONS = (
    Relation(
        _DATA,
        "Every file that is meant to be used can be read, belongs to a pair, and is what its name and header say.",
        ("D121", "D122", "D109", "D131", "D132", "D129", "D134", "D139", "D140", "D147"),
        "Files outside the folder, and what a program does to them before it reads them.",
    ),
    Relation(
        _DATA,
        "Values keep their meaning on the way: units, range, depth and finiteness.",
        ("D102", "D103", "D112", "D124", "D125", "D126", "D128", "D130", "D135", "D138", "D141", "D144"),
        "A wrong unit that is the same in every file, where no header tells it.",
    ),
    Relation(
        _DATA,
        "Labels hold only values that the task declares, and every class occurs.",
        ("D104", "D105", "D113", "D123", "D137", "D142", "D148", "D154", "D155"),
        "A label that is wrong and plausible.",
    ),
    Relation(
        _DATA,
        "Image, mask, boxes, views and labels of one sample belong together, through augmentation too.",
        ("D106", "D107", "D110", "D111", "D117", "D119", "D127", "D133", "D136", "D143", "D145", "D146", "D151"),
        "A mask of another patient that lies on the same grid.",
    ),
    Relation(
        _DATA,
        "An item is made of what the index chooses and of random numbers, and not of the items before it.",
        ("D150",),
        "Data sets that were asked for items before a loader read them, and data that are not read by index.",
    ),
    Relation(
        _DATA,
        "Augmentation varies from worker to worker, from pass to pass, and from one view of a sample to the other.",
        ("D116", "D153"),
        "Random numbers of libraries with generators of their own, and augmentation outside the data set.",
    ),
    Relation(
        _DATA,
        "Training and evaluation share nobody, by the split that was made.",
        ("D108", "D152", "E806", "C1105"),
        "The same patient under two names whose images differ.",
    ),
    Relation(
        _INPUT,
        "What the network is given is within the range it can use, for every channel and condition.",
        ("D101", "S507"),
    ),
    Relation(
        _INPUT,
        "The output depends on every input, on where things are, on which view is which, and on time.",
        ("M204", "M205", "M206", "M211", "M213", "M217", "M218"),
        "Whether the dependence is the right one.",
    ),
    Relation(
        _INPUT,
        "What the target needs can get through the network, and its last layer can say it.",
        ("M201", "M202", "M203", "M210"),
        "Limits of capacity that are no limits of width.",
    ),
    Relation(
        _INPUT,
        "Every module with parameters is trained, or frozen on purpose; what is frozen stands still.",
        ("M207", "M209", "M212", "M220", "M221", "M222", "M223", "R1001"),
        "Modules that are never called and in no optimiser.",
    ),
    Relation(
        _INPUT,
        "Training, validation and deployment run one network alike: mode, weights, time.",
        ("C1103", "O410", "S505", "M214", "D114", "C1112", "M219", "L336"),
    ),
    Relation(
        _LOSS,
        "A better prediction has a lower loss, and the optimum of every term is the target.",
        (
            "L301",
            "L304",
            "L308",
            "L312",
            "L313",
            "L315",
            "L316",
            "L317",
            "L318",
            "L321",
            "L323",
            "L332",
            "L333",
            "L334",
        ),
        "A loss that agrees with the target and not with what the target is for.",
    ),
    Relation(
        _LOSS,
        "Prediction and target are compared element by element, in the form that the loss expects.",
        ("M208", "L305", "L309", "L319", "L320", "L331", "L337", "L338"),
    ),
    Relation(
        _LOSS,
        "Every output of the network that something uses is asked for by the loss, channel by channel.",
        ("L335",),
        "Outputs that are used outside of torch alone, and channels that the data leave out.",
    ),
    Relation(
        _LOSS,
        "A library's function is given what its documentation says that it expects.",
        ("C1115",),
        "Functions that are not in the table of contracts, and what is right in form and wrong in meaning.",
    ),
    Relation(
        _LOSS,
        "Every term of the loss reaches the weights, with the weight that was meant.",
        ("L302", "L303", "L306", "L307", "L311", "L322"),
        "Terms that are computed in compiled code.",
    ),
    Relation(
        _UPDATE,
        "A step lowers the loss, and the planned steps can carry the weights to a solution.",
        ("O401", "O402", "O403", "O404", "O408", "O414", "O420", "T901", "T902"),
        "A plan that is longer than the window.",
    ),
    Relation(
        _UPDATE,
        "Accumulation, clipping, scaling and schedule act as they are meant.",
        ("O405", "O406", "O407", "O409", "O411", "O412", "O413", "O415", "O416", "O417", "O418", "O419", "O421"),
        "Updates made by hand, without an optimiser of torch.",
    ),
    Relation(_UPDATE, "The training is long enough, and ends where it no longer gains.", ("T903", "T904", "T906")),
    Relation(
        _FIGURE,
        "Outputs vary with their inputs as the targets do, in level, spread and detail.",
        ("Y701", "Y702", "Y704", "Y705", "Y706", "Y707", "Y708"),
        "Errors in places that no statistic of the whole image shows.",
    ),
    Relation(
        _FIGURE,
        "A figure is higher for better predictions, follows the model, and beats what is trivial.",
        (
            "E801",
            "E802",
            "E807",
            "E810",
            "E811",
            "E812",
            "E821",
            "E822",
            "E823",
            "E824",
            "E825",
            "E826",
            "E827",
            "E828",
            "E829",
            "E832",
            "E833",
            "E830",
        ),
        "Whether the figure is the one that matters to a patient.",
    ),
    Relation(
        _FIGURE,
        "The best model is chosen by a figure that exists, that is repeatable, and is kept as it was.",
        ("E805", "E808", "E809", "E815"),
    ),
    Relation(
        _STATE,
        "What is loaded arrives, what is resumed goes on, and what is configured is used.",
        ("C1102", "C1104", "C1107", "C1108", "C1110", "C1113", "M215"),
        "A file with the right names and the wrong values.",
    ),
    Relation(
        _STATE,
        "Processes agree where they must, faults are not hidden from the log, and no line is without effect.",
        ("C1106", "C1109", "C1111", "C1114"),
    ),
    Relation(
        _STATE,
        "The program does not contradict itself: names, copies and results are what they say.",
        ("C1116", "C1117", "C1118", "C1119", "C1120", "C1121", "C1122", "C1123"),
        "What is wrong and named rightly; programs above six thousand lines.",
    ),
    Relation(
        _SAMPLING,
        "The sampling loop inverts the training: schedule, prediction type, update rule, clipping and guidance.",
        ("S501", "S502", "S503", "S504", "S506", "S508", "S509", "S510", "S511"),
        "Loops that do more in a step than a linear sampler does.",
    ),
    Relation(
        _RENDER,
        "A rendered radiograph follows the law of Beer and Lambert, by unit, angle and axis, and lets a gradient back.",
        ("P601", "P602", "P603", "P604", "P605", "P606"),
        "Scatter, beam hardening, and a geometry that is wrong in the same way for render and data.",
    ),
)
"""In the order in which a sample passes through a training."""
