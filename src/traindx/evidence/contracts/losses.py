"""Contracts of loss functions."""

from __future__ import annotations

from traindx.evidence.contracts.base import Contract
from traindx.finding import Severity, Standing

LOSSES = (
    Contract(
        key="kl-div-of-probabilities",
        function="torch.nn.functional.kl_div",
        expects="log-probabilities as its first argument",
        meaning="The loss becomes linear in the probabilities, and its gradient no longer grows where they are too "
        "small: rare classes are given up, and its least value is not where the two agree.",
        remedy="Give it log_softmax(...) of the same logits.",
        source="PyTorch documentation of `torch.nn.KLDivLoss`: the input is expected in log space.",
        near="Log-probabilities, whose values are never above 0; probabilities as the second argument.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="kl-div-target-in-other-space",
        function="torch.nn.functional.kl_div",
        expects="probabilities as its second argument unless log_target=True, and their logarithms with it",
        meaning="Without log_target the logarithm of a negative target is no number; with it, probabilities are "
        "taken for their own logarithms.",
        remedy="Give it softmax(...) as the target, or say log_target=True of log-probabilities.",
        source="PyTorch documentation of `torch.nn.KLDivLoss`, `log_target`.",
        near="Log-probabilities as the target with log_target=True.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="zeros-for-minus-ones",
        function="torch.nn.functional.cosine_embedding_loss, margin_ranking_loss, hinge_embedding_loss, "
        "soft_margin_loss",
        expects="labels of 1 and -1",
        meaning="A label of 0 is neither: such pairs have no gradient, a constant loss, or both sides at once.",
        remedy="Map the labels: 2 * y - 1.",
        source="PyTorch documentation of `CosineEmbeddingLoss`, `MarginRankingLoss`, `HingeEmbeddingLoss`, "
        "`SoftMarginLoss`.",
        near="Labels of -1, 0 and 1, where 0 leaves a pair out; batches of ones alone, which are not counted.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="soft-targets-off-one",
        function="torch.nn.functional.cross_entropy",
        expects="one distribution a sample where the target has the shape of the logits: no value below 0, a sum of 1",
        meaning="The loss is weighted by the sum of each target, and its floor moves with it.",
        remedy="Divide each target by its sum; for several labels a sample use binary_cross_entropy_with_logits.",
        source="PyTorch documentation of `torch.nn.CrossEntropyLoss`, target with class probabilities.",
        near="Targets that sum to 1, with label smoothing or mixed; rows of zeros, which leave a sample out.",
    ),
    Contract(
        key="poisson-rate-for-its-logarithm",
        function="torch.nn.functional.poisson_nll_loss",
        expects="the logarithm of the rate, unless log_input=False",
        meaning="The rate that is trained is the exponential of one that is positive already: it is never below 1.",
        remedy="Pass log_input=False, or leave out the activation that makes the rate positive.",
        source="PyTorch documentation of `torch.nn.PoissonNLLLoss`, `log_input`.",
        near="Log-rates that happen to be positive: only what comes right out of softplus, exp, relu, abs or a square "
        "is counted.",
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="reduce-is-a-flag",
        function="torch.nn.functional.binary_cross_entropy_with_logits, mse_loss and other losses",
        expects="True or False as `reduce`, and the way to reduce as `reduction`",
        meaning="What is multiplied by weights afterwards is one number, their mean: the weights cancel, and no voxel, "
        "class or sample counts more than another.",
        remedy="Write reduction= for reduce=.",
        source="PyTorch documentation of `torch.nn.BCEWithLogitsLoss`: `reduce` (bool, deprecated), `reduction` (str).",
        near="reduction='none'; reduce=False; reduce='mean', which gives what it says.",
        standing=Standing.DEMONSTRATED,
    ),
    Contract(
        key="overlap-loss-of-logits",
        function="monai.losses.DiceLoss, DiceCELoss, DiceFocalLoss, GeneralizedDiceLoss, TverskyLoss",
        expects="probabilities, unless it is told to apply sigmoid, softmax or another activation itself",
        meaning="An overlap of values outside 0 to 1 has no bound: its least value is not a right mask.",
        remedy="Pass sigmoid=True (channels for themselves) or softmax=True (one class a voxel).",
        source="MONAI documentation of `DiceLoss`, `sigmoid`, `softmax`, `other_act`.",
        near="Probabilities, whatever made them; losses with an activation of their own.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="overlap-loss-of-class-numbers",
        function="monai.losses.DiceLoss, DiceFocalLoss, GeneralizedDiceLoss, TverskyLoss",
        expects="a target of zeros and ones a channel, unless to_onehot_y=True",
        meaning="Class numbers are multiplied with one channel of probabilities: class 3 counts three times, and no "
        "class has a channel.",
        remedy="Pass to_onehot_y=True with one channel of output a class.",
        source="MONAI documentation of `DiceLoss`, `to_onehot_y`.",
        near="Masks of zeros and ones, and soft masks between.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="ctc-of-unnormalised-scores",
        function="torch.nn.functional.ctc_loss",
        expects="log-probabilities over the classes, its last axis",
        meaning="The loss can fall without bound by making all scores larger.",
        remedy="Give it log_softmax(dim=-1) of the scores.",
        source="PyTorch documentation of `torch.nn.CTCLoss`, `log_probs`.",
        near="Log-probabilities in half precision, whose sums are off 1 by a per cent.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
    Contract(
        key="ctc-blank-among-targets",
        function="torch.nn.functional.ctc_loss",
        expects="targets without the index of the blank (0 by default)",
        meaning="A class that shares its index with the blank cannot be told from nothing.",
        remedy="Shift the classes by one, or pass blank= the index that is kept free.",
        source="PyTorch documentation of `torch.nn.CTCLoss`, `targets`.",
        near="Padding behind the target's length, which is not read.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL,
    ),
)
