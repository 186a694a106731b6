"""Distil a large OCT classifier into a small one for the bedside device."""
import logging

import torch
import torch.nn.functional as F

from data import CLASSES, fetch_dataloader
from model import StudentNet, TeacherNet

PARAMS = {
    "seed": 230,
    "train_size": 600,
    "dev_size": 300,
    "batch_size": 15,
    "teacher": {"learning_rate": 3e-3, "epochs": 6},
    "student": {"learning_rate": 3e-3, "epochs": 12, "alpha": 0.9, "temperature": 4.0},
}


def loss_fn_kd(outputs, labels, teacher_outputs, params):
    """Cross-entropy with the labels, and divergence from the softened outputs of the teacher."""
    alpha, temperature = params["alpha"], params["temperature"]
    soft = F.kl_div(F.log_softmax(outputs / temperature, 1), F.softmax(teacher_outputs / temperature, 1), reduction="batchmean")
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(outputs, labels)


@torch.no_grad()
def evaluate(model, dataloader):
    model.eval()
    right, loss, count = 0, 0.0, 0
    for images, labels in dataloader:
        outputs = model(images)
        loss += F.cross_entropy(outputs, labels, reduction="sum").item()
        right += (outputs.argmax(1) == labels).sum().item()
        count += len(labels)
    return {"accuracy": right / count, "loss": loss / count}


def train(model, optimizer, dataloader):
    model.train()
    total = 0.0
    for images, labels in dataloader:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(dataloader)


@torch.no_grad()
def fetch_teacher_outputs(teacher_model, dataloader):
    teacher_model.eval()
    return [teacher_model(images) for images, _ in dataloader]


def train_kd(model, teacher_outputs, optimizer, dataloader, params):
    """One epoch of the student."""
    model.train()
    total, right, count = 0.0, 0, 0
    for i, (train_batch, labels_batch) in enumerate(dataloader):
        output_batch = model(train_batch)
        output_teacher_batch = teacher_outputs[i]
        loss = loss_fn_kd(output_batch, labels_batch, output_teacher_batch, params)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        right += (output_batch.argmax(1) == labels_batch).sum().item()
        count += len(labels_batch)
    return {"accuracy": right / count, "loss": total / len(dataloader)}


def train_and_evaluate_kd(model, teacher_model, train_dataloader, dev_dataloader, optimizer, scheduler, params):
    best = 0.0
    teacher_outputs = fetch_teacher_outputs(teacher_model, train_dataloader)
    for epoch in range(params["epochs"]):
        train_metrics = train_kd(model, teacher_outputs, optimizer, train_dataloader, params)
        scheduler.step()
        dev_metrics = evaluate(model, dev_dataloader)
        best = max(best, dev_metrics["accuracy"])
        if epoch % 2 == 1:
            logging.info("student epoch %d: training loss %.4f accuracy %.4f, dev loss %.4f accuracy %.4f", epoch + 1,
                         train_metrics["loss"], train_metrics["accuracy"], dev_metrics["loss"], dev_metrics["accuracy"])
    return best


def main(params):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(params["seed"])
    train_dataloader, dev_dataloader = fetch_dataloader(params)

    teacher = TeacherNet(len(CLASSES))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=params["teacher"]["learning_rate"])
    for epoch in range(params["teacher"]["epochs"]):
        loss = train(teacher, optimizer, train_dataloader)
        metrics = evaluate(teacher, dev_dataloader)
        logging.info("teacher epoch %d: training loss %.4f, dev loss %.4f accuracy %.4f", epoch + 1, loss, metrics["loss"], metrics["accuracy"])

    student = StudentNet(len(CLASSES))
    optimizer = torch.optim.Adam(student.parameters(), lr=params["student"]["learning_rate"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params["student"]["epochs"])
    best = train_and_evaluate_kd(student, teacher, train_dataloader, dev_dataloader, optimizer, scheduler, params["student"])
    logging.info("best accuracy of the student %.4f", best)


if __name__ == "__main__":
    main(PARAMS)
