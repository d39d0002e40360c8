"""Fusing the scores of two stages: rankings of texts, and finished matrices in both directions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from framesift.errors import ConfigError, InputError, ShapeError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import Matcher, MeanPool, TopK
from framesift.ranking import MemoryGallery, rank, rerank_similarity
from framesift.rerankers import Fusion, Reranker
from framesift.similarity import similarity_matrix

TEXTS, VIDEOS, DIM = 7, 50, 6


class PatchProduct(Reranker):
    """The dot product of the first word and the first patch: features that the matcher never sees."""

    seen = 0

    def forward(self, text: TextFeatures, video: VideoFeatures, pairs: Tensor) -> Tensor:
        assert text.word is not None
        assert video.patch is not None
        self.seen = max(self.seen, len(video))
        return (text.word[pairs[:, 0], 0] * video.patch[pairs[:, 1], 0, 0]).sum(dim=1)


def features() -> tuple[TextFeatures, TextFeatures, VideoFeatures]:
    """Texts for the matcher, the same for the reranker, and the videos."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mask = torch.ones(TEXTS, 2, dtype=torch.bool)
    words = TextFeatures(sentence=draw(TEXTS, 4), word=draw(TEXTS, 2, 4), word_mask=mask)
    frame_mask = torch.ones(VIDEOS, 3, dtype=torch.bool)
    video = VideoFeatures(frame=draw(VIDEOS, 3, DIM), frame_mask=frame_mask, patch=draw(VIDEOS, 3, 2, 4))
    return TextFeatures(sentence=draw(TEXTS, DIM)), words, video


def scores(words: TextFeatures, video: VideoFeatures) -> Tensor:
    assert words.word is not None
    assert video.patch is not None
    return words.word[:, 0] @ video.patch[:, 0, 0].T


def naive(coarse: Tensor, again: Tensor, depth: int, fusion: Fusion) -> list[list[int]]:
    """Candidates of every query: the best of the matcher by their fused score, then the rest as they were."""
    result: list[list[int]] = []
    for q in range(len(coarse)):
        before = sorted(range(coarse.shape[1]), key=lambda c, q=q: -float(coarse[q, c]))
        fused = {
            c: fusion.weight * float(again[q, c]) + fusion.coarse_scale * float(coarse[q, c])
            for c in before[:depth]
        }
        result.append(sorted(fused, key=lambda c, f=fused: -f[c]) + before[depth:])
    return result


FUSIONS = [Fusion(), Fusion(coarse_scale=1.0), Fusion(weight=0.3, coarse_scale=100.0), Fusion(weight=0.0)]


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
@pytest.mark.parametrize("depth", [1, 5, VIDEOS, 3 * VIDEOS])
@pytest.mark.parametrize("matcher", [MeanPool(), TopK()], ids=["mean_pool", "top_k"])
def test_rankings_and_matrices_agree_with_a_naive_loop(matcher: Matcher, depth: int, fusion: Fusion) -> None:
    text, words, video = features()
    coarse, again = similarity_matrix(matcher, text, video), scores(words, video)
    reranker = PatchProduct()
    t2v = rerank_similarity(coarse, reranker, words, video, depth=depth, fusion=fusion)
    v2t = rerank_similarity(coarse, reranker, words, video, depth=depth, fusion=fusion, direction="v2t")
    ranking = rank(
        text,
        MemoryGallery(video),
        matcher,
        reranker=reranker,
        rerank_depth=depth,
        rerank_text=words,
        fusion=fusion,
    )
    expected = naive(coarse, again, depth, fusion)
    if fusion.weight:  # otherwise all fused scores are equal
        assert t2v.argsort(dim=1, descending=True, stable=True).tolist() == expected
        assert ranking.rows.tolist() == expected
        backwards = naive(coarse.T, again.T, depth, fusion)
        assert v2t.T.argsort(dim=1, descending=True, stable=True).tolist() == backwards
    top = ranking.rows[:, : min(depth, VIDEOS)]
    fused = fusion(again.gather(1, top), coarse.gather(1, top))
    torch.testing.assert_close(ranking.scores[:, : top.shape[1]], fused)
    torch.testing.assert_close(t2v.gather(1, top).float(), fused)


def test_videos_come_a_few_at_a_time() -> None:
    text, words, video = features()
    reranker = PatchProduct()
    rerank_similarity(similarity_matrix(MeanPool(), text, video), reranker, words, video, depth=VIDEOS)
    assert reranker.seen == 32 < VIDEOS


def test_lowering_keeps_candidates_that_nearly_tie_apart() -> None:
    coarse = torch.tensor([[3.0, 1.0, 1.0 - 2**-24, 1.0 - 2**-23]])
    words = TextFeatures(
        sentence=torch.zeros(1, 1), word=torch.full((1, 1, 1), -1e6), word_mask=torch.ones(1, 1).bool()
    )
    ones = torch.ones(4, 1, 1)
    video = VideoFeatures(frame=ones, frame_mask=torch.ones(4, 1).bool(), patch=ones[:, None])
    reranked = rerank_similarity(coarse, PatchProduct(), words, video, depth=1)
    assert (reranked.diff(dim=1) < 0).all()


def test_rows_of_another_gallery_are_reranked() -> None:
    text, words, video = features()
    frames = VideoFeatures(frame=video.frame, frame_mask=video.frame_mask)
    options = {"reranker": PatchProduct(), "rerank_text": words}
    ours = rank(text, MemoryGallery(video), MeanPool(), **options)
    other = rank(text, MemoryGallery(frames), MeanPool(), **options, rerank_gallery=MemoryGallery(video))
    assert torch.equal(ours.rows, other.rows)


def test_the_reranker_says_how_it_is_fused() -> None:
    class Fused(PatchProduct):
        @property
        def fusion(self) -> Fusion:
            return Fusion(weight=2.0, coarse_scale=3.0)

    text, words, video = features()
    coarse = similarity_matrix(MeanPool(), text, video)
    given = rerank_similarity(coarse, PatchProduct(), words, video, fusion=Fused().fusion)
    assert torch.equal(rerank_similarity(coarse, Fused(), words, video), given)
    assert not torch.equal(rerank_similarity(coarse, PatchProduct(), words, video), given)


def test_nothing_to_rerank() -> None:
    _, words, video = features()
    for t, v in ((TEXTS, 0), (0, VIDEOS), (0, 0)):
        for direction in ("t2v", "v2t"):
            found = rerank_similarity(
                torch.zeros(t, v), PatchProduct(), words[:t], video[:v], direction=direction
            )
            assert found.shape == (t, v)


def test_what_does_not_fit_is_named() -> None:
    text, words, video = features()
    coarse = similarity_matrix(MeanPool(), text, video)
    with pytest.raises(InputError, match="depth is 0"):
        rerank_similarity(coarse, PatchProduct(), words, video, depth=0)
    with pytest.raises(ShapeError, match="similarity"):
        rerank_similarity(coarse, PatchProduct(), words[:2], video)
    with pytest.raises(ShapeError, match="rerank_text"):
        rank(text, MemoryGallery(video), MeanPool(), reranker=PatchProduct(), rerank_text=words[:0])
    with pytest.raises(ShapeError, match="rerank_gallery"):
        rank(
            text,
            MemoryGallery(video),
            MeanPool(),
            reranker=PatchProduct(),
            rerank_gallery=MemoryGallery(video[:9]),
        )
    for bad in ({"weight": -1.0}, {"coarse_scale": float("nan")}):
        with pytest.raises(ConfigError, match="expected a finite number"):
            Fusion(**bad)
