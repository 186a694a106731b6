"""Embedding of palm vein images; judged on hands that were not seen in training."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

from data import BalancedBatches, Palms
from losses import HardNegativePairs, ChosenPairsLoss, squared_distances


class PalmNet(nn.Module):
    def __init__(self, ch=12, out=16):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2)]

        self.features = nn.Sequential(*block(1, ch), *block(ch, 2 * ch), *block(2 * ch, 2 * ch), *block(2 * ch, 2 * ch), nn.Flatten())
        self.embed = nn.Sequential(nn.Linear(2 * ch * 9, 96), nn.PReLU(), nn.Linear(96, out))

    def forward(self, x):
        return self.embed(self.features(x))


@torch.no_grad()
def evaluate(model, palms):
    """Recall at 1 (the nearest other capture is of the same hand) and area under the ROC of verification."""
    model.eval()
    vectors = torch.cat([model(images) for images, _ in DataLoader(palms, 100)])
    distances = squared_distances(vectors)
    labels = torch.from_numpy(palms.labels)
    same = labels[:, None] == labels[None]
    others = ~torch.eye(len(labels), dtype=torch.bool)
    nearest = distances.masked_fill(~others, float("inf")).argmin(1)
    recall = (labels[nearest] == labels).float().mean().item()
    genuine, impostor = distances[same & others], distances[~same]
    ranks = torch.cat([genuine, impostor]).argsort().argsort()[: len(genuine)].double()
    auc = 1 - (ranks.sum() - len(genuine) * (len(genuine) - 1) / 2) / (len(genuine) * len(impostor))
    return recall, auc.item()


def main():
    np.random.seed(0)
    torch.manual_seed(0)
    train, test = Palms(range(160), 8, seed=1), Palms(range(500, 560), 5, seed=2)
    loader = DataLoader(train, batch_sampler=BalancedBatches(train.labels, hands=12, captures=4, batches=40))
    model = PalmNet()
    criterion = ChosenPairsLoss(margin=1.0, selector=HardNegativePairs())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.3)
    for epoch in range(1, 7):
        model.train()
        total = 0.0
        for images, labels in loader:
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        if epoch % 2 == 0:
            recall, auc = evaluate(model, test)
            print(f"epoch {epoch} lr {scheduler.get_last_lr()[0]:.1e} loss {total / len(loader):.4f} unseen hands: recall@1 {recall:.3f} AUC {auc:.3f}")
    torch.save(model.state_dict(), "veins.pt")


if __name__ == "__main__":
    main()
