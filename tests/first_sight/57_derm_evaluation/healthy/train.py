"""Classification of skin lesions and a table of its performance by class."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from dermkit.data import CLASSES, Lesions
from dermkit.metrics import compute_metrics


class NeuralNetwork:
    """A convolutional network with fit and predict."""

    def __init__(self, n_labels, ch=16, learning_rate=1e-3):
        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]

        self.net = nn.Sequential(*block(3, ch), *block(ch, 2 * ch), *block(2 * ch, 4 * ch), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * ch, n_labels))
        self.optimizer = torch.optim.Adam(self.net.parameters(), learning_rate)

    def train_epoch(self, loader):
        self.net.train()
        total = 0.0
        for images, labels in loader:
            loss = F.cross_entropy(self.net(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(images) / len(loader.dataset)
        return total

    @torch.no_grad()
    def predict(self, loader):
        self.net.eval()
        return torch.cat([self.net(images).softmax(1) for images, _ in loader]).numpy()


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(Lesions(640, 1), batch_size=32, shuffle=True)
    val_loader = DataLoader(Lesions(200, 2), batch_size=50)
    labels = np.array(val_loader.dataset.labels)
    model = NeuralNetwork(len(CLASSES))
    for epoch in range(1, 13):
        loss = model.train_epoch(train_loader)
        if epoch % 2 == 0:
            rows = compute_metrics(model.predict(val_loader), labels, len(CLASSES))
            print(f"epoch {epoch} loss {loss:.4f} f1 {np.mean([r['f1'] for r in rows]):.3f} auc {np.mean([r['auc'] for r in rows]):.3f}")
    for name, row in zip(CLASSES, rows):
        print(f"{name:10s} " + " ".join(f"{key} {value:.3f}" for key, value in row.items()))
    torch.save(model.net.state_dict(), "lesions.pt")


if __name__ == "__main__":
    main()
