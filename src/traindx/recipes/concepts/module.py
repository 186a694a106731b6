"""The three stages of training as a LightningModule; one instance goes through them one after the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.recipes.concepts.best import BestScores
from traindx.recipes.concepts.contract import Learnt, contract_of, read
from traindx.recipes.concepts.data import Batch
from traindx.recipes.concepts.gradient_monitor import flags, norms_by_part
from traindx.recipes.concepts.loss import (
    absence_loss,
    background_loss,
    box_direction,
    box_loss,
    concept_loss,
    pooled,
    prototype_loss,
    separation_loss,
)
from traindx.recipes.concepts.metrics import auroc, average_precision, mean_over, pointing
from traindx.recipes.concepts.model import ConceptNetwork, parameter_groups
from traindx.recipes.concepts.modes import by_mode
from traindx.recipes.concepts.prototypes import flat_embedding, hottest, patches, similarities, used
from traindx.recipes.concepts.settings import STAGES, Settings
from traindx.recipes.kit.contract import CONTRACT_KEY, check
from traindx.recipes.kit.schedule import stepped, warmup_cosine

COLLAPSED = 0.8
"""Mean cosine within concepts above which prototypes count as collapsed; the document asks for less than 0.5."""


class ConceptsModule(L.LightningModule):  # type: ignore[misc]
    """Concept maps, then prototypes, then the task.

    Args:
        settings: Settings of the run.
        concepts: Names of the concepts.
        classes: Names of the classes of the task.
        pos_weights: Weight of the positives of each concept, from the training labels.
    """

    def __init__(
        self, settings: Settings, concepts: tuple[str, ...], classes: tuple[str, ...], pos_weights: Tensor
    ) -> None:
        super().__init__()
        self.settings, self.concepts, self.classes = settings, concepts, classes
        self.network = ConceptNetwork(settings.architecture, len(concepts), len(classes))
        self.register_buffer("pos_weights", pos_weights)
        self.pos_weights: Tensor
        self.stage = STAGES[0]
        self.best = BestScores()
        self.red_flags: list[str] = []
        self.flags_written = 0
        self.modes: Tensor | None = None
        self.class_weights: Tensor | None = None
        self._seen: list[dict[str, Tensor]] = []
        self._boxes: list[Any] = []

    def enter(self, stage: str) -> None:
        """Begin a stage: its parts learn, the others are held still."""
        self.stage = stage
        self.network.train_only(*self.settings.stages[stage].rates)

    def learning_parts(self) -> list[torch.nn.Module]:
        """What is compiled and laid out where that is asked for: the parts of the network that are called."""
        return [self.network.maps.encoder, self.network.maps.head]

    def on_train_epoch_start(self) -> None:
        """Hold frozen parts still: Lightning puts every module in training mode after a validation."""
        self.network.train_only(*self.settings.stages[self.stage].rates)

    def loss_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted terms of the present stage."""
        network, settings = self.network, self.settings
        if self.stage == "concepts":
            maps = network.maps(batch["image"])
            logits = pooled(maps, settings.architecture.pooling)
            terms = {"concepts": concept_loss(logits, batch["label"], self.pos_weights)}
            if settings.box_weight:
                terms["boxes"] = settings.box_weight * box_loss(maps, batch["masks"], settings.margin)
            return terms
        features = network.maps.encoder(batch["image"])
        if self.stage == "prototypes":
            return self._prototype_terms(batch, features)
        logits = network.task(network.prototypes(features).flatten(1))
        known = batch["task"] >= 0
        if not bool(known.any()):
            return {"task": logits.sum() * 0.0}
        weights = self.class_weights.to(logits) if self.class_weights is not None else None
        return {"task": F.cross_entropy(logits[known], batch["task"][known], weight=weights)}

    def _prototype_terms(self, batch: Batch, features: Tensor) -> dict[str, Tensor]:
        """Contrast, separation, and what keeps images or patches without a concept away from its prototypes."""
        network, settings = self.network, self.settings
        vectors = network.prototypes.vectors
        embedded = flat_embedding(network.prototypes.embed(features))
        masks = self._patch_masks(batch, features)
        owner = patches(masks)
        mine = owner if self.modes is None else by_mode(flat_embedding(features), owner, self.modes)
        if settings.hottest:
            best = network.prototypes(features)
            bare_term = absence_loss(best, batch["label"])
        else:
            # a cell that a box touches without filling it is neither a patch of the concept nor background
            bare = owner | (masks > 0).movedim(1, -1).reshape(owner.shape)
            bare_term = background_loss(embedded, bare, vectors)
        return {
            "contrast": prototype_loss(embedded, mine, vectors, settings.temperature),
            "separation": settings.separation * separation_loss(vectors),
            "background": settings.background * bare_term,
        }

    @torch.no_grad()
    def _patch_masks(self, batch: Batch, features: Tensor) -> Tensor:
        """The boxes' cells, or the hottest ones of the concept maps, which stand still in this stage."""
        if not self.settings.hottest:
            return batch["masks"]
        return hottest(self.network.maps.head(features), batch["label"], batch["masks"], self.settings.hottest)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step; logs every term as it is weighted, and the direction of the box loss at the very first."""
        if self.stage == "concepts" and self.settings.box_weight and self.global_step == 0:
            self._report_direction(batch)
        terms = self.loss_terms(batch)
        total = torch.stack(list(terms.values())).sum()
        size = len(batch["image"])
        self.log("loss", total.detach(), prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        for name, value in terms.items():
            self.log(f"loss/{name}", value.detach(), on_step=False, on_epoch=True, batch_size=size)
        return total

    def _report_direction(self, batch: Batch) -> None:
        with torch.no_grad():
            maps = self.network.maps(batch["image"])
        found = box_direction(maps, batch["masks"], self.settings.margin)
        if not math.isnan(found["right"]):
            print(
                f"box loss: a step downhill raises the logit inside boxes in {found['right']:.0%} of the pairs "
                f"(inside {found['inside']:+.2e}, outside {found['outside']:+.2e})",
                flush=True,
            )
            if found["right"] < 1:
                self._flag("the box loss lowers the logit inside some boxes")

    def configure_gradient_clipping(self, optimizer: Any, **_: Any) -> None:
        """Look at the gradients, NaN included, then clip them."""
        norms = norms_by_part(self.network.parameters())
        for part, norm in norms.items():
            self.log(f"gradient/{part}", norm, on_step=False, on_epoch=True)
        for sentence in flags(norms):
            self._flag(sentence)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)

    def _flag(self, sentence: str) -> None:
        said = f"{self.stage}, epoch {self.current_epoch}: {sentence}"
        if said not in self.red_flags:
            self.red_flags.append(said)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._seen, self._boxes = [], []

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Keep what the stage's score needs."""
        network = self.network
        features = network.maps.encoder(batch["image"])
        kept = {"label": batch["label"], "task": batch["task"]}
        if self.stage == "concepts":
            kept["maps"] = network.maps.head(features)
            self._boxes += batch["boxes"]
        elif self.stage == "prototypes":
            kept["embedding"] = flat_embedding(network.prototypes.embed(features))
            kept["owner"] = patches(self._patch_masks(batch, features))
        else:
            kept["logits"] = network.task(network.prototypes(features).flatten(1))
        self._seen.append(kept)

    def on_validation_epoch_end(self) -> None:
        """Score the stage by its own figure and log it as ``score``."""
        seen = {name: torch.cat([one[name] for one in self._seen]).cpu() for name in self._seen[0]}
        figures = {
            "concepts": self._concept_figures,
            "prototypes": self._prototype_figures,
            "task": self._task_figures,
        }[self.stage](seen)
        for name, value in figures.items():
            self.log(name, value, prog_bar=name == "score")
        if not self.trainer.sanity_checking:
            self.best.offer(self.stage, figures["score"])

    def _concept_figures(self, seen: dict[str, Tensor]) -> dict[str, float]:
        """Mean of mAP and pointing, or mAP alone where the boxes are not trained on."""
        scores = pooled(seen["maps"], self.settings.architecture.pooling).numpy()
        labels = seen["label"].numpy()
        hits = pointing(seen["maps"].numpy(), self._boxes)
        found = {
            "val_map": mean_over(average_precision, scores, labels),
            "val_auroc": mean_over(auroc, scores, labels),
            "val_pointing": float(np.nanmean(hits)) if not np.isnan(hits).all() else float("nan"),
        }
        judged = (found["val_map"], found["val_pointing"]) if self.settings.box_weight else (found["val_map"],)
        found["score"] = float(np.nanmean(judged))
        return found

    def _prototype_figures(self, seen: dict[str, Tensor]) -> dict[str, float]:
        """Share of the validation patches whose nearest prototype is one of their own concepts."""
        vectors = self.network.prototypes.vectors.detach().cpu()
        owner = seen["owner"]
        shown = owner.any(dim=1)
        embedded = seen["embedding"][shown]
        K, M, _ = vectors.shape
        alike = similarities(vectors, int((used(embedded, owner[shown], vectors) > 0).sum()))
        if alike.within > COLLAPSED:
            self._flag(f"prototypes of one concept are nearly the same: mean cosine {alike.within:.2f}")
        nearest = (embedded @ vectors.reshape(K * M, -1).T).argmax(dim=1) // M
        right = owner[shown].gather(1, nearest[:, None]).float().mean() if len(embedded) else torch.tensor(torch.nan)
        return {
            "score": float(right),
            "val_within": alike.within,
            "val_between": alike.between,
            "val_used": float(alike.used),
        }

    def _task_figures(self, seen: dict[str, Tensor]) -> dict[str, float]:
        """Macro AUROC of the task, one class against the rest."""
        probability = seen["logits"].softmax(dim=1).numpy()
        known = seen["task"].numpy() >= 0
        onehot = np.eye(len(self.classes), dtype=np.float32)[seen["task"].numpy()[known]]
        return {"score": mean_over(auroc, probability[known], onehot)}

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for each part, warm-up and half a cosine over the steps of the stage."""
        stage = self.settings.stages[self.stage]
        groups = parameter_groups(self.network.parameters(), stage.rates)
        optimizer = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay)
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        warmup = min(self.settings.warmup, total // 5)
        return stepped(optimizer, lambda step: warmup_cosine(step, total, warmup, 0.01))

    def contract(self) -> dict[str, Any]:
        """What a checkpoint of this module promises."""
        return contract_of(self.settings, self.concepts, self.classes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the contract, the stage and the best scores."""
        checkpoint[CONTRACT_KEY] = self.contract()
        checkpoint["stage"] = self.stage
        checkpoint["best"] = dict(self.best.scores)
        checkpoint["red_flags"] = list(self.red_flags)
        checkpoint["modes"] = self.modes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another contract; take up best scores and flags."""
        check(checkpoint, self.contract())
        self.best = BestScores(dict(checkpoint["best"]))
        self.red_flags = list(checkpoint["red_flags"])
        self.modes = checkpoint.get("modes")
        self.flags_written = len(self.red_flags)


def module_from(path: Path) -> tuple[ConceptsModule, Learnt]:
    """The module of a model file, in evaluation mode, and what was found out about it.

    Raises:
        InputError: The file cannot be used.
    """
    stored = read(path)
    contract = stored[CONTRACT_KEY]
    settings = Settings.model_validate(contract["settings"])
    concepts, classes = tuple(contract["concepts"]), tuple(contract["classes"])
    module = ConceptsModule(settings, concepts, classes, torch.ones(len(concepts)))
    module.load_state_dict(stored["state_dict"])
    return module.eval(), Learnt.model_validate(stored["learnt"])
