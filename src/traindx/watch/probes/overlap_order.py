"""What does an overlap loss charge for a class that is left out altogether?

Dice and its kin are chosen because a small class counts as much as a large one. Where all classes are summed up
together first, what is left is the share of voxels that are right.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from traindx.evidence.probed import OverlapProbed
from traindx.watch.probes.loss_path import Path, Source, Step
from traindx.watch.probes.path_probe import PathProbe
from traindx.watch.probes.targets import CLASSES, LOGITS, PROBABILITIES, REGRESSION, SURE

MOST_CLASSES = 8  # that are left out in turn


class Labels(NamedTuple):
    """The class of every voxel, and the step that brings it in as one-hot channels."""

    classes: Any
    step: Step


class OverlapOrder(PathProbe):
    """Gives an overlap loss outputs that are perfect, wrong everywhere, and without one class each."""

    subject = "what an overlap loss charges for a class"
    dense: ClassVar[int] = 4

    def look(self, path: Path) -> None:
        """Only losses that are an overlap and nothing else."""
        named = (*CLASSES, *LOGITS, *PROBABILITIES, *REGRESSION)
        tensor = self.watch.torch.Tensor
        if any(step.name in named and _spatial(step, tensor) for step in path.needed()):
            return  # a loss that compares voxel by voxel, alone or beside an overlap, which is then not all there is
        for source in path.sources:
            if source.value.dim() < 4 or not 3 <= source.value.shape[1] <= 64:
                continue
            labels = self._labels(path, source)
            if labels is None:
                continue
            if not self.bursts.wanted(path.site) or not self.captured.affordable(0.0):
                return
            with self.captured.spending(self):
                self._probe(path, source, labels)
            return

    def _labels(self, path: Path, source: Source) -> Labels | None:
        """A constant on the way that is one-hot over the output's channels."""
        torch, output = self.watch.torch, source.value
        for step, _, tensor in path.operands():
            if tensor.numel() != output.numel() or tensor.shape[0] != output.shape[0]:
                continue
            channels = tensor.reshape(output.shape)
            if bool(((channels == 0) | (channels == 1)).all()) and bool((channels.sum(1) == 1).all()):
                return Labels(channels.to(torch.int64).argmax(1), step)
        return None

    def _probe(self, path: Path, source: Source, labels: Labels) -> None:
        torch, number, channels = self.watch.torch, source.number, source.value.shape[1]
        classes = labels.classes
        counts = torch.bincount(classes.flatten(), minlength=channels)
        present = [index for index in range(channels) if int(counts[index])]
        if len(present) < 3:
            return

        def saying(wanted: Any) -> Any:
            hot = torch.nn.functional.one_hot(wanted, channels).movedim(-1, 1)
            return (2 * SURE * (hot.to(source.value.dtype) - 0.5)).contiguous()

        largest = int(counts.argmax())
        left_out = [index for index in present if index != largest][:MOST_CLASSES]
        perfect = path.loss({number: saying(classes)})
        costs = [
            path.loss({number: saying(torch.where(classes == index, largest, classes))}) - perfect for index in left_out
        ]
        site = labels.step.site or path.site
        self.watch.sink.event(
            OverlapProbed(
                network=type(source.call.network).__name__,
                classes=channels,
                perfect=perfect,
                wrong=path.loss({number: saying((classes + 1) % channels)}),
                shares=tuple(float(counts[index]) / classes.numel() for index in left_out),
                costs=tuple(costs),
                where=site.location(),
                step=self.watch.iteration,
            )
        )


def _spatial(step: Step, tensor: Any) -> bool:
    """A comparison of images, and not arithmetic between numbers that were reduced already."""
    return any(isinstance(one, tensor) and one.dim() >= 3 for one in step.args[:2])
