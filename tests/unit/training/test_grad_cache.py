"""Chunks give the gradient of the whole batch, noise included."""

import pytest
import torch
from torch import Tensor, nn

from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import XPool, XPoolConfig
from framesift.training.grad_cache import backward_in_chunks
from framesift.training.losses import symmetric_contrastive

PAIRS, FRAMES, WORDS, DIM = 7, 3, 4, 8


class Towers(nn.Module):
    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.text, self.video = nn.Linear(5, DIM), nn.Linear(6, DIM)
        self.unused = nn.Linear(2, 2)
        self.dropout = nn.Dropout(dropout)
        self.matcher = XPool(XPoolConfig(dim=DIM, dropout=0.0))

    def encode(self, chunk: tuple[Tensor, Tensor]) -> tuple[TextFeatures, VideoFeatures]:
        words, frame = self.dropout(self.text(chunk[0])), self.dropout(self.video(chunk[1]))
        lengths = 1 + len(words) % WORDS  # chunks differ in their longest text, as batches do
        mask = torch.ones(len(words), lengths, dtype=torch.bool)
        text = TextFeatures(sentence=words.sum(dim=1), word=words[:, :lengths], word_mask=mask)
        return text, VideoFeatures(frame=frame, frame_mask=torch.ones(frame.shape[:2], dtype=torch.bool))

    def loss(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        assert text.word is not None
        plain = symmetric_contrastive(self.matcher(text, video), torch.tensor(2.0))
        return plain + text.word.square().sum() / len(text)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(PAIRS, WORDS, 5, generator=generator),
        torch.randn(PAIRS, FRAMES, 6, generator=generator),
    )


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_it_equals_one_graph_over_all_chunks(dropout: float, size: int) -> None:
    torch.manual_seed(0)
    towers = Towers(dropout=dropout)
    text, video = batch()
    chunks = list(zip(text.split(size), video.split(size), strict=True))

    torch.manual_seed(5)
    parts = [towers.encode(chunk) for chunk in chunks]
    whole = towers.loss(TextFeatures.cat([t for t, _ in parts]), VideoFeatures.cat([v for _, v in parts]))
    whole.backward()
    expected = gradients(towers)
    towers.zero_grad()

    torch.manual_seed(5)
    value = backward_in_chunks(chunks, towers.encode, towers.loss)
    found = gradients(towers)
    assert value.item() == pytest.approx(whole.item(), abs=1e-6)
    assert found.keys() == expected.keys()
    assert not any(name.startswith("unused") for name in found)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-5)


def test_the_noise_after_it_does_not_depend_on_the_second_encoding() -> None:
    towers = Towers(dropout=0.5)
    text, video = batch()
    torch.manual_seed(5)
    for chunk in zip(text.split(2), video.split(2), strict=True):
        towers.encode(chunk)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backward_in_chunks(list(zip(text.split(2), video.split(2), strict=True)), towers.encode, towers.loss)
    assert torch.equal(torch.rand(3), expected)
