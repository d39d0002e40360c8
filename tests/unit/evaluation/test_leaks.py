"""A planted leak is flagged, and every matcher of ours is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from framesift.errors import InputError, ShapeError
from framesift.evaluation import compare_permuted, evaluate, find_leaks, suspicious
from framesift.features import TextFeatures, VideoFeatures, unit
from framesift.matchers import MATCHERS, Matcher, MeanPool
from framesift.metrics import t2v

DIM, FRAMES = 64, 6


def noise(texts: int, videos: int, *, seed: int = 0) -> tuple[TextFeatures, VideoFeatures]:
    """Features that know nothing of one another: the honest score is chance."""
    generator = torch.Generator().manual_seed(seed)
    text = TextFeatures(
        sentence=torch.randn(texts, DIM, generator=generator),
        word=torch.randn(texts, 5, DIM, generator=generator),
        word_mask=torch.ones(texts, 5, dtype=torch.bool),
    )
    frame = torch.randn(videos, FRAMES, DIM, generator=generator)
    return text, VideoFeatures(frame=frame, frame_mask=torch.ones(videos, FRAMES, dtype=torch.bool))


def pooled(sentence: Tensor, video: VideoFeatures) -> Tensor:
    """Frames of every video weighed by one text for each, ``[video, dim]``."""
    frame = unit(video.frame)
    weight = (10 * (frame * unit(sentence)[:, None]).sum(dim=-1)).softmax(dim=1)
    return unit((frame * weight[..., None]).sum(dim=1))


def own_caption(text: TextFeatures, video: VideoFeatures) -> Tensor:
    """The published leak: every video is pooled with its own caption, then compared with all texts."""
    return unit(text.sentence) @ pooled(text.sentence, video).T


def batch_mean(text: TextFeatures, video: VideoFeatures) -> Tensor:
    """Texts are centred over those that came with them."""
    centred = text.sentence - text.sentence.mean(dim=0)
    return unit(centred) @ unit(video.frame.mean(dim=1)).T


def diagonal(text: TextFeatures, video: VideoFeatures) -> Tensor:
    """A bonus where row and column have the same number."""
    return MeanPool()(text, video) + 0.1 * torch.eye(len(text), len(video))


def softmax_over_texts(text: TextFeatures, video: VideoFeatures) -> Tensor:
    """Dual softmax inside the score."""
    similarity = MeanPool()(text, video)
    return similarity * (20 * similarity).softmax(dim=0)


def first_text(text: TextFeatures, video: VideoFeatures) -> Tensor:
    """Every video is pooled with whichever text comes first."""
    return unit(text.sentence) @ pooled(text.sentence[:1].expand(len(video), -1), video).T


LEAKS: list[Callable[[TextFeatures, VideoFeatures], Tensor]] = [
    own_caption,
    batch_mean,
    diagonal,
    softmax_over_texts,
    first_text,
]


def honest(text: TextFeatures, video: VideoFeatures) -> Tensor:
    """Every pair is pooled for itself."""
    rows = [
        torch.einsum("vd,d->v", pooled(one.expand(len(video), -1), video), unit(one)) for one in text.sentence
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("scores", LEAKS, ids=lambda scores: scores.__name__)
@pytest.mark.parametrize("count", [2, 20])
def test_a_planted_leak_is_flagged(scores: Callable[..., Tensor], count: int) -> None:
    text, video = noise(count, count)
    report = find_leaks(scores, text, video)
    assert not report.ok
    with pytest.raises(InputError, match="the scores leak"):
        report.refuse()
    bad = [check for check in report.checks if not check.ok]
    assert all(check.error or (check.moved and check.largest > report.tolerance) for check in bad)
    assert "moved" in str(report) or "failed" in str(report)


def test_the_published_leak_finds_what_is_not_there_and_an_honest_score_does_not() -> None:
    text, video = noise(300, 300)
    assert t2v(own_caption(text, video)).recall_at[1] > 3, "chance is 0.3"
    assert t2v(honest(text, video)).recall_at[1] < 1.5
    assert find_leaks(honest, text, video).ok
    moved = {check.name for check in find_leaks(own_caption, text, video).checks if not check.ok}
    assert {"texts in another order", "fewer texts"} <= moved


def test_which_pair_moved_and_by_how_much_is_told() -> None:
    text, video = noise(9, 9)
    checks = {check.name: check for check in find_leaks(diagonal, text, video, sample=9).checks}
    again = checks["texts in another order"]
    assert (again.pairs, again.moved) == (81, 18), "the bonus left nine pairs, and came to nine others"
    assert again.largest == pytest.approx(0.1, rel=1e-4)
    assert ", then " in again.example
    assert checks["scored twice"].ok


def _matcher(name: str) -> Matcher:
    options = {"xpool": {"dim": DIM}, "multi_grained": {"dim": DIM, "max_words": 5, "max_frames": FRAMES}}
    matcher = MATCHERS[name].from_config(MATCHERS[name].Config(**options.get(name, {})))
    generator = torch.Generator().manual_seed(0)
    for parameter in matcher.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return matcher.eval()


@pytest.mark.parametrize("name", sorted(MATCHERS))
@pytest.mark.parametrize("sizes", [(20, 20), (30, 12), (1, 4)])
def test_no_registered_matcher_leaks(name: str, sizes: tuple[int, int]) -> None:
    matcher = _matcher(name)
    text, video = noise(*sizes)
    relevance = torch.zeros(sizes, dtype=torch.bool)
    relevance[torch.arange(sizes[0]), torch.arange(sizes[0]) % sizes[1]] = True
    report = find_leaks(matcher, text, video, relevance=relevance)
    assert report.ok, report
    checked = evaluate(matcher, text, video, relevance=relevance).leaks
    assert checked is not None
    assert checked.ok
    assert len(checked.checks) == len(report.checks) + 1, "evaluate compares with the finished matrix too"
    assert all(line.startswith(check.name) for line, check in zip(checked.lines, checked.checks, strict=True))


def test_dropout_left_on_is_found() -> None:
    matcher = MATCHERS["xpool"].from_config(MATCHERS["xpool"].Config(dim=DIM, dropout=0.5)).train()
    text, video = noise(10, 10)
    failed = {check.name for check in find_leaks(matcher, text, video).checks if not check.ok}
    assert "scored twice" in failed


class Planted:
    """A leak with the interface of a matcher."""

    def __call__(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        return own_caption(text, video)

    def scorer(self, video: VideoFeatures) -> Callable[[TextFeatures], Tensor]:
        return lambda text: own_caption(text, video)


def test_evaluation_refuses_a_leak_unless_told_not_to_look() -> None:
    text, video = noise(30, 30)
    with pytest.raises(InputError, match=r"scoring failed|moved"):
        evaluate(Planted(), text, video)
    assert evaluate(Planted(), text, video, leak_check=False).leaks is None


def test_a_function_that_gives_another_shape_is_told() -> None:
    text, video = noise(6, 4)
    with pytest.raises(ShapeError, match=r"\[text, video\]"):
        find_leaks(lambda t, v: MeanPool()(t, v).T, text, video)
    with pytest.raises(InputError, match="sample=1"):
        find_leaks(MeanPool(), text, video, sample=1)


def test_half_precision_is_not_taken_for_a_leak() -> None:
    text, video = noise(12, 12)
    half = torch.bfloat16
    assert find_leaks(MeanPool(), text.to(dtype=half), video.to(dtype=half)).ok


def test_a_matrix_made_again_in_another_order_proves_its_texts_independent() -> None:
    text, video = noise(20, 20)
    order = np.random.default_rng(0).permutation(20)
    shuffled = text[order.tolist()]
    assert compare_permuted(honest(text, video), honest(shuffled, video), order).ok
    report = compare_permuted(own_caption(text, video), own_caption(shuffled, video), order)
    assert not report.ok
    assert report.checks[0].pairs == 400
    assert report.checks[0].moved > 300
    kept = order[:7]
    assert compare_permuted(honest(text, video), honest(text[kept.tolist()], video), kept).ok


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 2, 3], "proves nothing"),
        ([0, 1, 1, 2], "twice"),
        ([0, 1, 2, 9], "names text 9"),
        ([1, 0], "permuted matrix"),
        ([1.0, 0.0, 2.0, 3.0], "whole numbers"),
    ],
)
def test_a_permutation_that_proves_nothing_is_refused(order: list[int], message: str) -> None:
    x = torch.rand(4, 4)
    with pytest.raises(InputError, match=message):
        compare_permuted(x, x, np.array(order))


def test_signs_in_a_matrix_alone() -> None:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    texts = ["a dog", "a cat", "a dog", "rain", "snow", "a cat"]
    x[2], x[5] = x[0], x[1]
    assert suspicious(x, texts=texts) == ()
    other = x.clone()
    other[5, 3] += 0.5
    (sign,) = suspicious(other, texts=texts)
    assert "1 of 2 repeated sentences" in sign
    assert "rows 1 and 5" in sign
    assert "softmax over all texts" in suspicious(x.softmax(dim=0))[0]
    assert "softmax over all videos" in suspicious(x.softmax(dim=1))[0]
    assert "centred over all texts" in suspicious(x - x.mean(dim=0))[0]
    with pytest.raises(ShapeError, match="6 sentences"):
        suspicious(x, texts=texts[:2])
