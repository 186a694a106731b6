"""Sends support tickets to one of twenty queues with a small encoder that attends over their words."""
import random
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

PRODUCTS, FAULTS, FILLERS = 4, 5, 60
WORDS = [f"product{i}" for i in range(PRODUCTS)] + [f"fault{i}" for i in range(FAULTS)] + [f"w{i}" for i in range(FILLERS)]
VOCAB = {token: i for i, token in enumerate(["<pad>", "<cls>", *WORDS])}


@dataclass
class EncoderConfig:
    vocab_size: int = len(VOCAB)
    hidden_size: int = 48
    num_heads: int = 2
    num_layers: int = 1
    max_length: int = 20
    attention_dropout: float = 0.3
    hidden_dropout: float = 0.1


@dataclass
class TrainingConfig:
    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 40
    seed: int = 1


def ticket(rng, length):
    """Filler words with one word for the product and one for the fault at random places, and the queue they belong to."""
    words = [f"w{rng.randrange(FILLERS)}" for _ in range(rng.randint(length // 2, length - 1))]
    product, fault = rng.randrange(PRODUCTS), rng.randrange(FAULTS)
    first, second = rng.sample(range(len(words)), 2)
    words[first], words[second] = f"product{product}", f"fault{fault}"
    return words, product * FAULTS + fault


class Tickets(Dataset):
    def __init__(self, count, max_length, seed):
        rng, self.items = random.Random(seed), []
        for _ in range(count):
            words, queue = ticket(rng, max_length)
            ids = [VOCAB["<cls>"]] + [VOCAB[word] for word in words]
            self.items.append((torch.tensor(ids + [0] * (max_length - len(ids))), queue))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.dropout = config.num_heads, config.attention_dropout
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, mask):
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        dropout = self.dropout
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None], dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config.hidden_size
        self.norm1, self.norm2, self.attention = nn.LayerNorm(size), nn.LayerNorm(size), SelfAttention(config)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        self.drop = nn.Dropout(config.hidden_dropout)

    def forward(self, x, mask):
        x = x + self.drop(self.attention(self.norm1(x), mask))
        return x + self.drop(self.mlp(self.norm2(x)))


class SequenceClassifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(config.max_length, config.hidden_size))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm, self.score = nn.LayerNorm(config.hidden_size), nn.Linear(config.hidden_size, PRODUCTS * FAULTS)

    def forward(self, ids):
        mask, x = ids != 0, self.tokens(ids) + self.positions[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        return self.score(self.norm(x)[:, 0])


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    loss = right = count = 0.0
    for ids, label in loader:
        logits = model(ids)
        loss += F.cross_entropy(logits, label, reduction="sum").item()
        right, count = right + (logits.argmax(1) == label).sum().item(), count + len(label)
    return loss / count, right / count


def train(config, training):
    torch.manual_seed(training.seed)
    loader = DataLoader(Tickets(2400, config.max_length, 1), training.batch_size, shuffle=True)
    valid = DataLoader(Tickets(600, config.max_length, 2), 200)
    model = SequenceClassifier(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate)
    total = training.epochs * len(loader)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / training.warmup_steps, (total - s) / (total - training.warmup_steps)))
    for epoch in range(1, training.epochs + 1):
        model.train()
        for ids, label in loader:
            loss = F.cross_entropy(model(ids), label)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
        scores = evaluate(model, valid)
        print(f"epoch {epoch} eval_loss {scores[0]:.4f} eval_accuracy {scores[1]:.4f}")
    repeated = [evaluate(model, valid)[1] for _ in range(3)]
    print("three evaluations of the final model: " + " ".join(f"{value:.4f}" for value in repeated))


if __name__ == "__main__":
    train(EncoderConfig(), TrainingConfig())
