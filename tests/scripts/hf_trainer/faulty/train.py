"""Report sentence classifier (negated finding or not) with the Hugging Face Trainer."""
import tempfile

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

VOCAB = ["[PAD]", "[CLS]", "[SEP]", "no", "without", "evidence", "of", "shows", "there", "is", "left", "right",
         "effusion", "nodule", "fracture", "pneumothorax", "mass", "consolidation"]
FINDINGS = list(range(12, 18))


class Sentences(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        for _ in range(n):
            finding = FINDINGS[int(torch.randint(0, len(FINDINGS), (1,), generator=g))]
            negated = int(torch.randint(0, 2, (1,), generator=g))
            start = [3, 5, 6] if negated else [8, 9, 10 + int(torch.randint(0, 2, (1,), generator=g))]
            self.rows.append((torch.tensor([1, *start, finding, 2]), negated))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        ids, label = self.rows[i]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(label)}


def accuracy(pred):
    return {"accuracy": float((pred.predictions.argmax(-1) == pred.label_ids).mean())}


def main():
    set_seed(5)
    config = BertConfig(vocab_size=len(VOCAB), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=16, num_labels=2)
    model = BertForSequenceClassification(config)
    with tempfile.TemporaryDirectory() as out:
        targs = TrainingArguments(
            output_dir=out,
            max_steps=60,
            per_device_train_batch_size=16,
            learning_rate=2e-9,
            logging_steps=20,
            save_strategy="no",
            eval_strategy="steps",
            eval_steps=30,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=targs, train_dataset=Sentences(400, 0), eval_dataset=Sentences(64, 1),
                          compute_metrics=accuracy)
        trainer.train()


if __name__ == "__main__":
    main()
