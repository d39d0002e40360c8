"""CrossTVR: rerank of a text's candidates, all at once against one pair at a time, and its share of a search.

    python tests/benchmarks/bench_crosstvr.py --json results/bench-crosstvr.json

Three ways to the same logits: ``naive``, the paper's equations for one pair and one frame at a time; ``pair by pair``,
our ``CrossTVR`` called once a pair, so that the frames are batched and the candidates are not; ``batched``, all
candidates at once, as :func:`framesift.ranking.rank` calls it. Weights are random and so are the tokens, at the sizes
of CLIP ViT-B/32: 12 frames, 50 tokens of width 768. The Q-Former has BLIP-2's width and, unless told otherwise, its 12
layers. A caption has 14 tokens, padded to the 32 that the paper allows; the naive way never sees padding.

The share: seconds of the rerank over those of encoding the text (a tower of ViT-B/32's size) and ranking a gallery of
1,000 videos by cosine of their means.

Time is CPU time of this process (user + system), one thread, because other processes may share the machine; the
ways take turns, and the ratio of each round is kept.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import keep, machine
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool
from framesift.ranking import MemoryGallery, rank
from framesift.rerankers import CrossTVR, CrossTVRConfig
from framesift.rerankers.qformer import QFormerConfig

CANDIDATES, FRAMES, TOKENS, WIDTH = 15, 12, 50, 768  # the paper's depth, and CLIP ViT-B/32
WORDS, MAX_WORDS = 14, 32
GALLERY, DIM = 1000, 512  # MSR-VTT's test videos
AIM = 0.1
Way = Callable[[CrossTVR, TextFeatures, VideoFeatures], Tensor]


def naive(reranker: CrossTVR, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """Equations 1 to 6 for one pair and one frame at a time."""
    encoder, num_queries = reranker.qformer.encoder, reranker.config.qformer.num_queries
    start = reranker.qformer.query_tokens[None]
    assert text.word is not None
    assert text.word_mask is not None
    assert video.patch is not None
    word = text.word[:, text.word_mask[0]]
    real = torch.ones(1, word.shape[1], dtype=torch.bool)
    logits: list[Tensor] = []
    for frames in video.patch:
        queries = [
            encoder(start, word, real, encoder.project(token[None]))[:, :num_queries] for token in frames
        ]
        kept = torch.cat([reranker.selector(token[None]) for token in frames], dim=1)
        last = encoder(torch.cat(queries).mean(dim=0)[None], word, real, encoder.project(kept))
        logits.append(reranker.match(last[:, :num_queries]).mean(dim=1))
    return torch.cat(logits)


def pair_by_pair(reranker: CrossTVR, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """One call a candidate."""
    return torch.cat([batched(reranker, text, video[[v]]) for v in range(len(video))])


def batched(reranker: CrossTVR, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """What the library does by itself."""
    pairs = torch.stack([torch.zeros(len(video), dtype=torch.long), torch.arange(len(video))], dim=1)
    return reranker.logits(text, video, pairs)


WAYS: dict[str, Way] = {"naive": naive, "pair by pair": pair_by_pair, "batched": batched}


def case(layers: int) -> tuple[CrossTVR, TextFeatures, VideoFeatures]:
    """A reranker with every weight off its initial value, one text, and its candidates."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    sizes = QFormerConfig(visual_width=WIDTH, num_layers=layers)
    reranker = CrossTVR(CrossTVRConfig(qformer=sizes, max_words=MAX_WORDS)).eval()
    with torch.no_grad():
        for parameter in reranker.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    ids = torch.randint(sizes.vocab_size, (1, MAX_WORDS), generator=generator)
    word = reranker.qformer.embed_words(ids).detach()
    mask = torch.arange(MAX_WORDS)[None] < WORDS
    patch = torch.randn(CANDIDATES, FRAMES, TOKENS, WIDTH, generator=generator)
    video = VideoFeatures(
        frame=patch[:, :, 0], frame_mask=torch.ones(CANDIDATES, FRAMES, dtype=torch.bool), patch=patch
    )
    return reranker, TextFeatures(sentence=word[:, 0], word=word, word_mask=mask), video


def first_stage() -> Callable[[], object]:
    """Encode a text and rank the gallery."""
    torch.manual_seed(0)
    tower = CLIPTextModelWithProjection(
        CLIPTextConfig(
            hidden_size=512,
            intermediate_size=2048,
            num_attention_heads=8,
            num_hidden_layers=12,
            projection_dim=DIM,
        )
    ).eval()
    ids = torch.randint(1, 40000, (1, WORDS))
    mask = torch.ones(GALLERY, FRAMES, dtype=torch.bool)
    gallery = MemoryGallery(VideoFeatures(frame=torch.randn(GALLERY, FRAMES, DIM), frame_mask=mask))
    matcher = MeanPool()
    return lambda: rank(TextFeatures(sentence=tower(ids).text_embeds), gallery, matcher)


def measure(layers: int, rounds: int) -> dict[str, Any]:
    """Everything that the file's docstring promises."""
    torch.set_num_threads(1)
    reranker, text, video = case(layers)
    search = first_stage()
    seconds: dict[str, list[float]] = {name: [] for name in (*WAYS, "encode and search")}
    logits: dict[str, Tensor] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        seconds[name].append(time.process_time() - started)
        print(f"{name} {seconds[name][-1]:.3f} s", file=sys.stderr, flush=True)
        return result

    with torch.inference_mode():
        search()
        for way in WAYS.values():
            way(reranker, text, video[:1])
        for _ in range(rounds):
            for name, way in WAYS.items():
                logits[name] = timed(name, lambda way=way: way(reranker, text, video))
            timed("encode and search", search)

    def ratios(name: str, over: str) -> dict[str, float]:
        each = [a / b for a, b in zip(seconds[name], seconds[over], strict=True)]
        return {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}

    share = ratios("batched", "encode and search")
    return {
        "case": {
            "candidates": CANDIDATES,
            "frames": FRAMES,
            "tokens": TOKENS,
            "qformer": vars(reranker.config.qformer),
            "selected_tokens": reranker.config.num_selected,
            "words": WORDS,
            "gallery": GALLERY,
            "rounds": rounds,
        },
        "threads": 1,
        "cpu_s": seconds,
        "naive_over_batched": ratios("naive", "batched"),
        "pair_by_pair_over_batched": ratios("pair by pair", "batched"),
        "largest_difference_of_logits": {
            name: float((logits[name] - logits["batched"]).abs().max()) for name in ("naive", "pair by pair")
        },
        "spread_of_logits": float(logits["naive"][:, 1].max() - logits["naive"][:, 1].min()),
        "rerank_over_encode_and_search": share,
        "aim_of_that_share": {"share": AIM, "of": "a GPU", "met_here": share["median"] <= AIM},
        "machine": machine(),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--layers", type=int, default=12, help="of the Q-Former (BLIP-2: 12)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result = measure(options.layers, options.rounds)
    keep(result, options.json)


if __name__ == "__main__":
    main()
