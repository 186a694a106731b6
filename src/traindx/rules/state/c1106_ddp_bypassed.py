"""C1106 ddp-bypassed."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import NetworkCalls, RankDifference
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1106",
    "ddp-bypassed",
    Severity.MAJOR,
    needs=(RankDifference,),
    looked_at=requires(
        RankDifference,
        lambda record, limits: record.calls >= limits.calls,
        otherwise="too few calls of all processes could be compared",
    ),
    calls=Threshold(4, "calls compared, so that one batch that is alike by chance (or a warm-up) decides nothing"),
    same=Threshold(0.75, "share of calls with the same batch on two ranks; a distributed sampler repeats only padding"),
)
def ddp_bypassed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The ranks of a distributed training do not do what distributed training is for.

    What it finds:
        Ranks that read the same batches; weights that have come apart between ranks; buffers (batch-norm statistics)
        that have come apart.
    Why it stops learning:
        With the same batches every rank computes the same gradient, so several devices do the work of one and the
        effective batch is smaller than was planned for. Weights that differ are different networks, of which the one on
        rank 0 is saved.
    Evidence it needs:
        RankDifference (a watched script whose ranks call a DistributedDataParallel network).
    How it decides:
        Fingerprints of the inputs of the distributed network are compared call by call; two ranks agree in at least
        `same` of at least `calls` calls: `demonstrated`. Samples of weights, taken right before a forward pass, differ
        by more than round-off: `demonstrated`. Buffers taken after they were broadcast differ: `suspected`, since some
        buffers are meant to be local.
    Remedy:
        Give the loader a DistributedSampler and call its set_epoch(); wrap the network before the optimiser is made
        and call the wrapper, not `.module`; keep broadcast_buffers, or convert to SyncBatchNorm.
    Trial it proposes:
        None.
    Known false positives:
        Model-parallel training in which all ranks need the same batch.
    References:
        PyTorch documentation, "DistributedDataParallel" and "torch.utils.data.distributed.DistributedSampler".
    """
    for record in evidence.of(RankDifference):
        place = _training(evidence)
        if record.calls >= limits.calls and record.same_batches >= limits.same:
            yield Found(
                message=f"Ranks {_listed(record.ranks)} got the same batch in {100 * record.same_batches:.0f} % of "
                f"{record.calls} calls: each of them does the work of all.",
                standing=Standing.DEMONSTRATED,
                location=place,
                numbers={"same_batches": round(record.same_batches, 3), "calls": record.calls},
                remedy="Give the loader a DistributedSampler instead of shuffle, and call set_epoch(epoch).",
            )
        if record.weights_differ:
            yield Found(
                message=f"{record.weights_differ} of the sampled weights differ between ranks {_listed(record.ranks)} "
                f"({', '.join(record.examples[:2])}): they train different networks, and rank 0's is saved.",
                standing=Standing.DEMONSTRATED,
                severity=Severity.CRITICAL,
                location=place,
                numbers={"weights_differ": record.weights_differ, "call": record.step},
                remedy="Call the DistributedDataParallel wrapper, not its .module, and change no weight on one rank.",
            )
        elif record.buffers_differ:
            yield Found(
                message=f"{record.buffers_differ} buffers differ between ranks {_listed(record.ranks)} "
                f"({', '.join(record.examples[:2])}) even after they should have been broadcast.",
                location=place,
                numbers={"buffers_differ": record.buffers_differ, "call": record.step},
                remedy="Leave broadcast_buffers on, or use SyncBatchNorm.",
            )


def _training(evidence: Evidence) -> Location | None:
    """Where the network is called in training."""
    calls = [call for call in evidence.of(NetworkCalls) if call.phase == "training" and call.where is not None]
    return max(calls, key=lambda call: call.calls).where if calls else None


def _listed(ranks: tuple[int, ...]) -> str:
    return " and ".join(str(rank) for rank in ranks) if len(ranks) <= 2 else f"{ranks[0]} to {ranks[-1]}"
