"""The order of the samples."""

import torch

from framesift.training.source import Batch, PairOrder

OWNER = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])


def test_an_epoch_has_every_caption_once() -> None:
    order = PairOrder(OWNER, by_video=False, batch_size=3, seed=0)
    assert order.steps_per_epoch == 3
    seen = torch.cat([order.rows(step) for step in range(3)])
    assert len(seen.unique()) == 9, "the last, incomplete batch is left out"
    second = torch.cat([order.rows(step) for step in range(3, 6)])
    assert seen.tolist() != second.tolist()


def test_an_epoch_has_every_video_once_with_changing_captions() -> None:
    order = PairOrder(OWNER, by_video=True, batch_size=4, seed=0)
    assert order.steps_per_epoch == 1
    epochs = [order.rows(step) for step in range(30)]
    assert all(sorted(OWNER[rows].tolist()) == [0, 1, 2, 3] for rows in epochs)
    assert set(torch.cat(epochs).tolist()) == set(range(10))


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    orders = [PairOrder(OWNER, by_video=mode, batch_size=2, seed=4) for mode in (False, True, False, True)]
    for _ in range(2):
        for step in range(7):
            orders[0].rows(step)
            orders[1].rows(step)
    assert orders[0].rows(6).tolist() == orders[2].rows(6).tolist()
    assert orders[1].rows(6).tolist() == orders[3].rows(6).tolist()


def test_a_batch_is_no_larger_than_an_epoch() -> None:
    assert PairOrder(OWNER, by_video=True, batch_size=32, seed=0).batch_size == 4


def test_split_of_a_batch() -> None:
    batch = Batch(captions=torch.arange(5))
    assert [part.captions.tolist() for part in batch.split(2)] == [[0, 1], [2, 3], [4]]
    assert batch.split(0) == [batch]
