"""M201 channel-bottleneck."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import ChannelReduction
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M201",
    "channel-bottleneck",
    Severity.MAJOR,
    needs=(ChannelReduction,),
    largest_ratio=Threshold(32, "latent autoencoders and squeeze layers stay at or below 32 to 1 on their only path"),
    most_channels=Threshold(2, "three and more channels are the usual width of a deliberate latent code"),
    rank_per_channel=Threshold(
        4, "features whose effective rank is within 4 of the channels kept lose little by the projection"
    ),
)
def channel_bottleneck(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A layer inside the network squeezes many channels into one or two, and there is no way around it.

    What it finds:
        A convolution or linear layer on the only path of an input that keeps fewer than 1 in 32 channels, while what
        comes in varies in many more directions than go out; for example a depth lifting that turns 512 features of a
        radiograph into one channel of a volume.
    Why it stops learning:
        One channel holds one number a position. What the encoder knew beyond that is gone before the decoder sees it.
    Evidence it needs:
        ChannelReduction (check *information-path*).
    How it decides:
        Channels in over channels out above `largest_ratio`, at most `most_channels` out, effective rank of the input
        (Roy and Vetterli 2007) above `rank_per_channel` times the channels out, all of at least one input's influence
        on the output behind that layer (a pooled vector beside it does not count: it knows no places), and a learned
        layer after it (the network's own last layer is no bottleneck).
    Remedy:
        Keep more channels there, or concatenate the features instead of projecting them.
    Trial it proposes:
        None that is generic; offer one as `Case.treatments`.
    Known false positives:
        A code that is meant to be one number a position, such as a depth or attention map. Always `suspected`.
    References:
        Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    for step in evidence.of(ChannelReduction):
        ratio = step.channels_in / step.channels_out
        if ratio <= limits.largest_ratio or step.channels_out > limits.most_channels or step.is_head:
            continue
        if not step.only_way_of or step.rank_in < limits.rank_per_channel * step.channels_out:
            continue
        names = " and ".join(step.only_way_of)
        yield Found(
            message=f"{step.module or 'A layer'} squeezes {step.channels_in} channels into {step.channels_out}, and "
            f"{names} can reach the output only through it, or as a pooled vector; what comes in varies in about "
            f"{step.rank_in:.0f} directions.",
            location=step.where,
            numbers={
                "channels_in": step.channels_in,
                "channels_out": step.channels_out,
                "effective_rank_in": round(step.rank_in, 2),
            },
            remedy="Keep more channels at this layer (16 or more), or concatenate the features with what they join.",
        )
