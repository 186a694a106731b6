"""Does a radiology report entail a statement?  A small BERT, trained from nothing.

python train.py --epochs 8
"""
import argparse
import random

import torch
from transformers import BertConfig, BertForSequenceClassification

from utils import LABELS, WORDS, build_batch, make_pairs


@torch.no_grad()
def evaluate(model, pairs, batch_size):
    model.eval()
    right = 0
    for start in range(0, len(pairs), batch_size):
        ids, types, masks, labels = build_batch(pairs[start:start + batch_size], max_length=40)
        logits = model(input_ids=ids, token_type_ids=types, attention_mask=masks).logits
        right += (logits.argmax(1) == labels).sum().item()
    model.train()
    return right / len(pairs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    train_pairs, dev_pairs = make_pairs(3200, 0), make_pairs(320, 1)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                        max_position_embeddings=48, num_labels=len(LABELS), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=0.01)
    steps = args.epochs * (len(train_pairs) // args.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / 50, max(0.0, (steps - s) / (steps - 50))))
    model.train()
    for epoch in range(args.epochs):
        random.shuffle(train_pairs)
        total = 0.0
        for start in range(0, len(train_pairs), args.batch_size):
            ids, types, masks, labels = build_batch(train_pairs[start:start + args.batch_size])
            loss = model(input_ids=ids, token_type_ids=types, attention_mask=masks, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            total += loss.item() * len(labels) / len(train_pairs)
        print(f"epoch {epoch} loss {total:.4f} dev accuracy {evaluate(model, dev_pairs, args.batch_size):.4f}")
    torch.save(model.state_dict(), "nli.pt")


if __name__ == "__main__":
    main()
