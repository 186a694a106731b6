import logging
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

logger = logging.getLogger("unet3d")


def double_conv(cin, cout):
    return nn.Sequential(
        nn.Conv3d(cin, cout, 3, padding=1), nn.GroupNorm(4, cout), nn.ReLU(),
        nn.Conv3d(cout, cout, 3, padding=1), nn.GroupNorm(4, cout), nn.ReLU())


class UNet3D(nn.Module):
    """Two levels; the final activation goes with the loss (sigmoid or softmax)."""

    def __init__(self, in_channels, out_channels, f_maps, final_sigmoid=True):
        super().__init__()
        self.encoder = double_conv(in_channels, f_maps)
        self.bottom = double_conv(f_maps, 2 * f_maps)
        self.decoder = double_conv(3 * f_maps, f_maps)
        self.final_conv = nn.Conv3d(f_maps, out_channels, 1)
        self.final_activation = nn.Sigmoid() if final_sigmoid else nn.Softmax(dim=1)

    def forward(self, x):
        skip = self.encoder(x)
        deep = self.bottom(F.max_pool3d(skip, 2))
        deep = F.interpolate(deep, size=skip.shape[2:], mode="nearest")
        x = self.final_conv(self.decoder(torch.cat([skip, deep], 1)))
        if not self.training:
            x = self.final_activation(x)
        return x


class RunningAverage:
    def __init__(self):
        self.total, self.count = 0.0, 0

    def update(self, value, n):
        self.total += value * n
        self.count += n

    @property
    def avg(self):
        return self.total / max(self.count, 1)


def dice_score(probability, target):
    p = (probability > 0.5).float()
    return (2 * (p * target).sum() / (p.sum() + target.sum()).clamp(min=1)).item()


class UNet3DTrainer:
    def __init__(self, model, optimizer, lr_scheduler, loss_criterion, loaders, checkpoint_dir, max_epochs):
        self.model, self.optimizer, self.scheduler = model, optimizer, lr_scheduler
        self.loss_criterion, self.loaders = loss_criterion, loaders
        self.checkpoint_dir, self.max_epochs = checkpoint_dir, max_epochs
        self.best_eval_loss = float("inf")
        os.makedirs(checkpoint_dir, exist_ok=True)

    def fit(self):
        for epoch in range(self.max_epochs):
            train_loss, train_score = self.train()
            val_loss, val_score = self.validate()
            self.scheduler.step(val_loss)
            lr = self.optimizer.param_groups[0]["lr"]
            logger.info(f"epoch {epoch} train loss {train_loss:.4f} dice {train_score:.3f} | val loss {val_loss:.4f} dice {val_score:.3f} | lr {lr:.5f}")
            if val_loss < self.best_eval_loss:
                self.best_eval_loss = val_loss
                torch.save({"epoch": epoch, "model_state_dict": self.model.state_dict()}, os.path.join(self.checkpoint_dir, "best_checkpoint.pytorch"))

    def train(self):
        losses, scores = RunningAverage(), RunningAverage()
        self.model.train()
        for raw, target in self.loaders["train"]:
            output = self.model(raw)
            loss = self.loss_criterion(output, target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.update(loss.item(), len(raw))
            scores.update(dice_score(self.model.final_activation(output.detach()), target), len(raw))
        return losses.avg, scores.avg

    def validate(self):
        losses, scores = RunningAverage(), RunningAverage()
        self.model.eval()
        with torch.no_grad():
            for raw, target in self.loaders["val"]:
                output = self.model(raw)
                loss = self.loss_criterion(output, target)
                losses.update(loss.item(), len(raw))
                scores.update(dice_score(output, target), len(raw))
        return losses.avg, scores.avg
