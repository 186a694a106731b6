"""Lightning: a trainer with callbacks, checkpoints and a progress of its own"""

import os
import shutil
import warnings

import torch
import torch.nn.functional as F
from loop import digest
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", module="lightning|torch")
import lightning as L  # noqa: E402


class Module(L.LightningModule):
    """A small classifier."""

    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 3))

    def training_step(self, batch, index):
        loss = F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-3 * self.net[0].weight.square().sum()
        self.log("train", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


L.seed_everything(1, verbose=False)
data = TensorDataset(torch.randn(32, 6), torch.randint(0, 3, (32,)))
model = Module()
trainer = L.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[L.pytorch.callbacks.ModelCheckpoint("kept", monitor="val")],
    gradient_clip_val=0.5,
)
trainer.fit(model, DataLoader(data, 8, shuffle=True), DataLoader(data, 8))
print(
    digest(model), trainer.callback_metrics["val"].item(), os.path.basename(trainer.checkpoint_callback.best_model_path)
)
shutil.rmtree("kept")  # a checkpoint holds the absolute path of its folder, which is another one in each run
fabric = L.Fabric(accelerator="cpu")
net, optimizer = (
    fabric.setup(nn.Linear(6, 3), torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)) if False else (None, None)
)
plain = nn.Linear(6, 3)
net, optimizer = fabric.setup(plain, torch.optim.SGD(plain.parameters(), 0.1))
for x, y in fabric.setup_dataloaders(DataLoader(data, 8)):
    optimizer.zero_grad()
    fabric.backward(F.cross_entropy(net(x), y))
    optimizer.step()
print(digest(plain), type(net).__name__, type(optimizer).__name__)
