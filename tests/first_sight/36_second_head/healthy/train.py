"""An encoder is trained on ward films; then it is frozen and a head for emergency films is added. Lightning."""
import copy

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def films(n, seed, emergency):
    """Label: which of three opacities. Emergency films are brighter and of higher contrast, from another detector."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 32)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = torch.rand(4, n, 1, 1, generator=g)
    label = torch.randint(0, 3, (n,), generator=g)
    k = label.view(-1, 1, 1)
    cy, cx = u[0] - 0.5, u[1] - 0.5
    d = torch.hypot(yy - cy, xx - cx)
    blob = torch.exp(-(d / 0.18) ** 2)
    ring = torch.exp(-((d - 0.3) / 0.08) ** 2)
    streak = torch.exp(-((yy - cy - (xx - cx) * (2 * u[2] - 1)) / 0.07) ** 2) * (d < 0.5)
    img = 0.2 * torch.sin(5 * yy + 6 * u[3]) + 0.6 * torch.where(k == 0, blob, torch.where(k == 1, ring, streak))
    img = img + 0.12 * torch.randn(n, 32, 32, generator=g)
    if emergency:
        img = 1.6 * img + 0.8
    return TensorDataset(img[:, None], label)


class Encoder(nn.Sequential):
    def __init__(self, ch=12):
        layers, i = [], 1
        for o in (ch, 2 * ch, 3 * ch):
            layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
            i = o
        super().__init__(*layers, nn.Flatten())


class Classifier(L.LightningModule):
    def __init__(self, encoder, frozen, lr, name):
        super().__init__()
        self.encoder, self.head = encoder, nn.Sequential(nn.Dropout(0.2), nn.Linear(3 * 12 * 16, 3))
        self.frozen, self.lr, self.name = frozen, lr, name
        if frozen:
            self.encoder.requires_grad_(False)

    def on_train_epoch_start(self):
        if self.frozen:
            self.encoder.eval()

    def forward(self, x):
        return self.head(self.encoder(x))

    def training_step(self, batch, _):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def on_train_epoch_end(self):
        m = self.trainer.callback_metrics
        print(f"{self.name} epoch {self.current_epoch} train_loss {m['train_loss']:.4f} val_acc {m['val_acc']:.4f}")

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], self.lr)


def fit(model, train, val, epochs, batch):
    trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                        enable_model_summary=False, num_sanity_val_steps=0)
    trainer.fit(model, DataLoader(train, batch, shuffle=True), DataLoader(val, 200))


@torch.no_grad()
def accuracy(encoder, head, data):
    encoder.eval()
    head.eval()
    x, y = data.tensors
    return (head(encoder(x)).argmax(1) == y).float().mean().item()


if __name__ == "__main__":
    L.seed_everything(0)
    ward = Classifier(Encoder(), frozen=False, lr=2e-3, name="ward")
    fit(ward, films(600, 0, False), films(200, 1, False), epochs=7, batch=32)
    ward_head = copy.deepcopy(ward.head)

    emergency = Classifier(ward.encoder, frozen=True, lr=2e-3, name="emergency")
    fit(emergency, films(300, 2, True), films(200, 3, True), epochs=7, batch=16)
    print(f"one encoder, two heads: val_acc ward {accuracy(ward.encoder, ward_head, films(400, 4, False)):.4f} "
          f"emergency {accuracy(ward.encoder, emergency.head, films(400, 5, True)):.4f}")
