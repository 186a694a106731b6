"""Subtypes of lung cancer from bags of patch features: attention MIL, a Classifier with steps, early stopping."""
import argparse
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SUBTYPES = ("adeno", "squamous", "small cell")


def make_bags(count, centres, rng):
    """Patch features of slides: mostly stroma and normal tissue, 5 to 20 per cent tumour of the subtype of the slide."""
    bags, labels = [], []
    for _ in range(count):
        label = int(rng.integers(len(SUBTYPES)))
        kinds = rng.integers(0, 3, int(rng.integers(40, 90)))
        tumour = rng.random(len(kinds)) < rng.uniform(0.05, 0.2)
        kinds[tumour] = 3 + label
        patches = centres[kinds] + rng.normal(0, 1.0, (len(kinds), centres.shape[1])) + rng.normal(0, 0.4, centres.shape[1])
        bags.append(torch.tensor(patches, dtype=torch.float32))
        labels.append(label)
    return list(zip(bags, torch.tensor(labels)))


class AttentionMIL(nn.Module):
    def __init__(self, features, hidden, classes, dropout):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.tanh, self.gate = nn.Linear(hidden, hidden // 2), nn.Linear(hidden, hidden // 2)
        self.score = nn.Linear(hidden // 2, 1)
        self.head = nn.Linear(hidden, classes)

    def forward(self, bag):
        h = self.embed(bag)
        a = self.score(self.tanh(h).tanh() * self.gate(h).sigmoid())
        return self.head((a.softmax(0) * h).sum(0, keepdim=True))


class Classifier:
    """Model, optimiser and the steps over one slide or a set of slides."""

    def __init__(self, model, lr, weight_decay, accumulate):
        self.model, self.accumulate = model, accumulate
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)

    def training_epoch(self, bags):
        self.model.train()
        total, seen = 0.0, 0
        order = torch.randperm(len(bags)).tolist()
        for group in (order[i : i + self.accumulate] for i in range(0, len(order), self.accumulate)):
            self.optimizer.zero_grad()
            for i in group:
                bag, label = bags[i]
                loss = F.cross_entropy(self.model(bag), label[None])
                (loss / len(group)).backward()
                total, seen = total + loss.item(), seen + 1
            self.optimizer.step()
        return total / seen

    @torch.no_grad()
    def validation_step(self, bag, activation="softmax"):
        self.model.eval()
        output = self.model(bag)
        if activation == "softmax":
            output = output.softmax(1)
        elif activation == "sigmoid":
            output = output.sigmoid()
        return output


def calibration_error(probabilities, labels, bins=8):
    confidence, guess = probabilities.max(1)
    right, error = (guess == labels).float(), 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            error += inside.float().mean().item() * abs(right[inside].mean() - confidence[inside].mean()).item()
    return error


def scores(probabilities, labels):
    chosen = probabilities.gather(1, labels[:, None]).clamp(min=1e-7)
    onehot = F.one_hot(labels, probabilities.shape[1])
    return {
        "log loss": -chosen.log().mean().item(),
        "accuracy": (probabilities.argmax(1) == labels).float().mean().item(),
        "brier": (probabilities - onehot).square().sum(1).mean().item(),
        "ece": calibration_error(probabilities, labels),
        "sure": (probabilities.max(1)[0] > 0.9).float().mean().item(),
    }


def validate(classifier, bags):
    labels = torch.stack([label for _, label in bags])
    outputs = torch.cat([classifier.validation_step(bag) for bag, _ in bags])
    probabilities = outputs.softmax(1)
    return scores(probabilities, labels)


def train_model(classifier, train, val, epochs, patience):
    best, weights, waited = float("inf"), None, 0
    for epoch in range(1, epochs + 1):
        loss = classifier.training_epoch(train)
        result = validate(classifier, val)
        print(f"epoch {epoch:2d} train loss {loss:.3f} | val " + " ".join(f"{k} {v:.3f}" for k, v in result.items()))
        if result["log loss"] < best:
            best, weights, waited = result["log loss"], copy.deepcopy(classifier.model.state_dict()), 0
        else:
            waited += 1
            if waited == patience:
                break
    classifier.model.load_state_dict(weights)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--accumulate", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--patience", type=int, default=4)
    parser.add_argument("--seed", type=int, default=21)
    return parser.parse_args()


def main():
    args = parse()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    centres = rng.normal(0, 0.65, (3 + len(SUBTYPES), 24))
    train, val, test = (make_bags(n, centres, rng) for n in (200, 90, 120))
    model = AttentionMIL(24, args.hidden, len(SUBTYPES), args.dropout)
    classifier = Classifier(model, args.lr, args.weight_decay, args.accumulate)
    train_model(classifier, train, val, args.epochs, args.patience)
    print("test: " + ", ".join(f"{k} {v:.3f}" for k, v in validate(classifier, test).items()))


if __name__ == "__main__":
    main()
