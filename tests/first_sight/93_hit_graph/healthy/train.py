"""Label the hits of a liquid argon detector by particle type with a message-passing network."""
import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

CLASSES = ("muon", "proton", "electron")
TRACKS, HITS, WIRE = 9, 12, 20
NEIGHBOURS = 10


class Events(Dataset):
    """Events with several crossing tracks; each hit has a pulse shape that depends on angle and deposited charge."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        readout = torch.randn(3, WIRE, generator=torch.Generator().manual_seed(77))
        self.events = [self.simulate(generator, readout) for _ in range(count)]

    @staticmethod
    def simulate(g, readout):
        centre = torch.rand(TRACKS, 1, 2, generator=g) * 4
        angle = torch.rand(TRACKS, 1, generator=g) * torch.pi
        along = torch.linspace(-2.5, 2.5, HITS) + 0.15 * torch.randn(TRACKS, HITS, generator=g)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        position = centre + along[..., None] * direction + 0.05 * torch.randn(TRACKS, HITS, 2, generator=g)
        kind = torch.randint(0, len(CLASSES), (TRACKS, 1), generator=g).expand(TRACKS, HITS)
        charge = (kind - 1) * 0.7 + torch.randn(TRACKS, HITS, generator=g)
        tilt = angle.expand(TRACKS, HITS)
        state = torch.stack([2 * (2 * tilt).cos(), 2 * (2 * tilt).sin(), charge], -1)
        pulse = state @ readout + 0.3 * torch.randn(TRACKS, HITS, WIRE, generator=g)
        position, pulse, kind = position.reshape(-1, 2), pulse.reshape(-1, WIRE), kind.reshape(-1)
        distance = torch.cdist(position, position)
        distance.fill_diagonal_(float("inf"))
        source = distance.topk(NEIGHBOURS, largest=False).indices
        target = torch.arange(len(position))[:, None].expand_as(source)
        return pulse, kind, torch.stack([source.reshape(-1), target.reshape(-1)])

    def __len__(self):
        return len(self.events)

    def __getitem__(self, index):
        return self.events[index]


def collate(events):
    offset, edges = 0, []
    for pulse, _, edge in events:
        edges.append(edge + offset)
        offset += len(pulse)
    return torch.cat([e[0] for e in events]), torch.cat([e[1] for e in events]), torch.cat(edges, 1)


class NuBlock(nn.Module):
    """Attention-weighted messages along the edges, then an update of the nodes."""

    def __init__(self, features):
        super().__init__()
        self.edge_net = nn.Sequential(nn.Linear(2 * features, 32), nn.Mish(), nn.Linear(32, 1), nn.Sigmoid())
        self.node_net = nn.Sequential(nn.Linear(2 * features, features), nn.Mish(), nn.Linear(features, features), nn.Mish())

    def message(self, x_i, x_j):
        return self.edge_net(torch.cat((x_i, x_j), dim=1)) * x_j

    def forward(self, x, edge_index):
        source, target = edge_index
        messages = self.message(x[target], x[source])
        pooled = torch.zeros_like(x).index_add_(0, target, messages) / NEIGHBOURS
        return self.node_net(torch.cat([x, pooled], dim=1))


class NuGraph(L.LightningModule):
    def __init__(self, features=8, blocks=2, lr=4e-3):
        super().__init__()
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(WIRE, features), nn.Mish())
        self.blocks = nn.ModuleList([NuBlock(features) for _ in range(blocks)])
        self.decoder = nn.Linear(features, len(CLASSES))
        self.losses, self.outputs = [], []

    def forward(self, pulse, edge_index):
        x = self.encoder(pulse)
        for block in self.blocks:
            x = block(x, edge_index)
        return self.decoder(x)

    def training_step(self, batch, _):
        pulse, kind, edge_index = batch
        loss = F.cross_entropy(self(pulse, edge_index), kind)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, _):
        pulse, kind, edge_index = batch
        self.outputs.append((self(pulse, edge_index), kind))

    def on_validation_epoch_end(self):
        logits = torch.cat([o[0] for o in self.outputs])
        kind = torch.cat([o[1] for o in self.outputs])
        predicted = logits.argmax(1)
        recall = [(predicted[kind == k] == k).float().mean().item() for k in range(len(CLASSES))]
        self.log("val_loss", F.cross_entropy(logits, kind))
        self.log("val_accuracy", (predicted == kind).float().mean())
        if self.losses and (self.current_epoch + 1) % 4 == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in zip(CLASSES, recall))
            print(f"epoch {self.current_epoch + 1} train loss {sum(self.losses) / len(self.losses):.4f} "
                  f"val loss {F.cross_entropy(logits, kind).item():.4f} accuracy {(predicted == kind).float().mean().item():.4f} recall {shown}")
        self.losses, self.outputs = [], []

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def main():
    L.seed_everything(12, verbose=False)
    train_loader = DataLoader(Events(400, 1), batch_size=8, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(Events(100, 2), batch_size=50, collate_fn=collate)
    model = NuGraph()
    trainer = L.Trainer(max_epochs=16, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    trainer.fit(model, train_loader, val_loader)
    print(f"final validation accuracy {trainer.callback_metrics['val_accuracy'].item():.4f}, "
          f"loss {trainer.callback_metrics['val_loss'].item():.4f}")


if __name__ == "__main__":
    main()
