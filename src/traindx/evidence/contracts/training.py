"""Contracts of options, optimisers, layers and samplers."""

from __future__ import annotations

from traindx.evidence.contracts.base import Contract
from traindx.finding import Severity, Standing

TRAINING = (
    Contract(
        key="text-as-bool",
        function="argparse.ArgumentParser.add_argument(type=bool)",
        expects="a function that reads a text, and bool() of any text that is not empty is True",
        meaning="The option is on, although what was given says off.",
        remedy="Use action=argparse.BooleanOptionalAction, or a function that knows the words.",
        source="Python documentation of `argparse`, `type`: bool() is not recommended as a type converter.",
        near="Texts that mean true; an empty text; options that were not given.",
        standing=Standing.DEMONSTRATED,
        least=1,
    ),
    Contract(
        key="betas-exchanged",
        function="torch.optim.Adam, AdamW, NAdam, RAdam, Adamax",
        expects="the decay of the mean first and that of the square second, which is the larger one",
        meaning="The mean follows over a thousand steps and the square over ten: steps are late and of the wrong size.",
        remedy="Exchange them: betas=(0.9, 0.999).",
        source="Kingma and Ba, Adam, 2015, section 2; PyTorch documentation of `betas`.",
        near="betas=(0.5, 0.999) and (0, 0.9), as adversarial training has them; equal ones.",
        least=1,
    ),
    Contract(
        key="momentum-of-another-library",
        function="torch.nn.BatchNorm1d, BatchNorm2d, BatchNorm3d",
        expects="the weight of the new batch as its momentum (0.1 by default), where Keras has that of the old average",
        meaning="The running statistics are those of the last batch or two, so evaluation is as noisy as a batch.",
        remedy="Pass 1 - momentum.",
        source="PyTorch documentation of `torch.nn.BatchNorm2d`, note on momentum.",
        near="Momentum None (a plain average) and 1 (statistics taken anew on purpose).",
    ),
    Contract(
        key="momentum-given-as-eps",
        function="torch.nn.BatchNorm1d, BatchNorm2d, BatchNorm3d",
        expects="a tiny number added to the variance as its second argument; momentum is the third",
        meaning="Channels whose variance is small are not normalised, and momentum stays what it was.",
        remedy="Name the argument: momentum=...",
        source="PyTorch documentation of `torch.nn.BatchNorm2d`, `eps`.",
        near="eps up to 0.05.",
    ),
    Contract(
        key="keep-probability-for-dropout",
        function="torch.nn.Dropout, Dropout2d, Dropout3d",
        expects="the probability of an element to be zeroed",
        meaning="Nearly everything is zeroed, and what is left is multiplied by ten or more.",
        remedy="Pass 1 - the probability to keep.",
        source="PyTorch documentation of `torch.nn.Dropout`, `p`.",
        near="Dropout up to 0.85.",
    ),
    Contract(
        key="same-order-every-epoch",
        function="torch.utils.data.distributed.DistributedSampler",
        expects="set_epoch(epoch) before every pass, without which each has the order of the first",
        meaning="Batches hold the same samples in every epoch: shuffling happens once.",
        remedy="Call sampler.set_epoch(epoch) at the beginning of every epoch.",
        source="PyTorch documentation of `DistributedSampler`, warning on `set_epoch`.",
        near="A sampler with shuffle=False; a loop that sets the epoch.",
        standing=Standing.DEMONSTRATED,
        least=2,
    ),
    Contract(
        key="corners-of-another-grid",
        function="torch.nn.functional.affine_grid and grid_sample",
        expects="one align_corners of both",
        meaning="The image is scaled by (size - 1) / size about its centre, even under the identity.",
        remedy="Pass the same align_corners to both.",
        source="PyTorch documentation of `grid_sample`, `align_corners`.",
        near="Grids of another origin.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.MINOR,
    ),
    Contract(
        key="image-without-batch-resized",
        function="torch.nn.functional.interpolate",
        expects="a batch axis and a channel axis before the axes that it resizes",
        meaning="Of an image (channels, rows, columns) only the columns are resized.",
        remedy="Add a batch axis: x[None], and take it away afterwards.",
        source="PyTorch documentation of `interpolate`: (mini-batch, channels, [optional depth], [optional height], "
        "width).",
        near="Signals (batch, channels, steps), whose middle axis is not as long as the last.",
    ),
)
