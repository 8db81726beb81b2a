"""Which texts count as an image's."""

from __future__ import annotations

import torch

from train.batches import Texts


def texts() -> Texts:
    """Three items: the first has texts 0 and 1, the second text 1, the third text 2, which reads like text 0."""
    made = object.__new__(Texts)  # no model is needed
    made.own = torch.tensor([[0, 1], [1, -1], [2, -1]])
    made.features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [4.0, 0.4]])
    return made


def test_an_items_own_texts_are_its_positives() -> None:
    found = texts().positives(torch.tensor([0, 2, 1]), torch.tensor([0, 1, 2]))
    assert found.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_texts_count_by_their_likeness() -> None:
    every = torch.arange(3)
    found = texts().likeness(every, every, 0.2)
    assert torch.allclose(found.diag(), torch.ones(3)), "whatever their length"
    assert found[0, 2] > 0.95
    assert found[0, 1] < 0.01
    assert texts().likeness(every, every, 0.01)[0, 2] < found[0, 2], "a lower temperature is stricter"
