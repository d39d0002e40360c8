"""The bundled heads: one per system, on the frozen encoder that all share, from its cached tokens.

Every system draws from the same videos, pairs and captions. What scores all pairs of a batch, CLIP4Clip's tightTransf
too, learns by the symmetric contrastive loss of its paper; CrossTVR by the paper's matching loss, or by choosing among
hard negatives (:class:`HeadRecipe`). The tokenizer, the text tower and the visual tower stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..config import from_dict
from ..encoders import Encoder
from ..encoders.clip import ClipEncoder
from ..encoders.token_shift import TokenShiftClipEncoder
from ..errors import ConfigError, InputError, suggest
from ..evaluation.storyboard import encode_storyboards
from ..features import TextFeatures, VideoFeatures, unit
from ..hub import load, save
from ..matchers import MATCHERS
from ..metrics import t2v
from ..model import RetrievalModel
from ..ranking import rerank_similarity
from ..rerankers import RERANKERS, CrossTVR, Reranker
from ..rerankers.qformer import Layer
from ..storyboard import PAIR_KINDS
from ..temporal import TEMPORALS
from .fit import FitConfig, fit
from .hard_negatives import draw_matching_pairs, matching_loss
from .losses import symmetric_contrastive
from .recipe import Part
from .storyboard_clips import ClipBatch, StoryboardClips, ValidationGalleries
from .storyboard_videos import NUM_FRAMES, cached_frames, storyboard_tokens
from .text_tuning import POSITION_STD, real, told_apart
from .token_cache import TokenCache

__all__ = ["HeadRecipe", "train_head"]

RERANK_DEPTH = 15  # CrossTVR, section 4.1
VISUAL_SHARE = 0.6  # of what a query takes over from the image at first, against itself
LEAST_LIKELY = 1e-9  # so that there are always enough to draw from
SPREAD = 2.5  # BERT's random matrices are meant for a width of 768


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """Recipe of a head.

    Attributes:
        encoder: name or directory of the model whose encoder it is.
        name: of the model that comes of it.
        fit: ``batch_size`` counts the videos that are not of pairs.
        pairs: pairs of every kind in a batch.
        first_stage: of a CrossTVR: the trained model that it reranks, by name or directory.
        start: of a CrossTVR: the model whose reranker it starts from; empty: random weights.
        single_frames: of a CrossTVR: its Q-Former learns on single frames and captions of them, before it sees videos,
            as BLIP-2's was.
        loss: of a CrossTVR: ``matching``, the paper's, two classes and a hard negative each way; or ``choice``: of the
            own video and ``negatives`` hard ones, with the first stage's logits added, as in search. In the steps
            that a laptop has, only the second one gets anywhere.
        negatives: see there.
        shift_layers: token shift in these blocks of the visual tower (TS2-Net), counted from 0.
        clips: folder of the cached tokens, which other recipes share; with token shift, one beside it.
    """

    encoder: str
    name: str
    fit: FitConfig
    pairs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PAIR_KINDS, 4))
    temporal: Part = field(default_factory=lambda: Part(name="identity"))
    matcher: Part = field(default_factory=lambda: Part(name="mean_pool"))
    reranker: Part | None = None
    first_stage: str = ""
    start: str = ""
    single_frames: bool = False
    loss: Literal["matching", "choice"] = "choice"
    negatives: int = 5
    shift_layers: tuple[int, ...] = ()
    kind: str = "head"
    clips: str = "runs/clips"
    train_videos: int = 4000
    train_pairs: int = 300
    validation_videos: int = 200
    validation_pairs: int = 40


def train_head(recipe: HeadRecipe, folder: Path, *, report: Callable[[str], None]) -> None:
    """Train; ``folder/model`` becomes a model directory that shares the encoder."""
    model = _build(recipe)
    clips = StoryboardClips(videos=recipe.train_videos, pairs=recipe.train_pairs)
    shifted = "-shifted" if isinstance(model.encoder, TokenShiftClipEncoder) else ""
    tokens = [
        storyboard_tokens(Path(f"{recipe.clips}{shifted}") / part, model.encoder, videos, report=report)
        for part, videos in (("videos", clips.videos), ("pairs", clips.members))
    ]
    run = _Run(recipe, model, clips, tokens)
    fit(
        run.module,
        lambda first: clips.draw(
            range(first, recipe.fit.steps),
            videos=recipe.fit.batch_size,
            pairs=recipe.pairs,
            seed=(recipe.fit.seed + 1) * 1_000_003,
        ),
        run.loss,
        config=recipe.fit,
        folder=folder,
        logit_scale=model.logit_scale,
        evaluate=_Validation(recipe, model).measure,
        report=report,
    )
    save(model.requires_grad_(True), folder / "model", encoder_from=recipe.encoder, head_dtype="fp16")


def _build(recipe: HeadRecipe) -> RetrievalModel:
    """The model with random weights, or with those it starts from, in everything but the frozen parts."""
    torch.manual_seed(recipe.fit.seed)
    if recipe.first_stage:
        model = load(recipe.first_stage, device="cpu", backend="torch", dtype="fp32")
    else:
        encoder = load(recipe.encoder, device="cpu", backend="torch", dtype="fp32").encoder
        if recipe.shift_layers:
            if not isinstance(encoder, ClipEncoder):
                raise InputError(f"shift_layers={list(recipe.shift_layers)}: {recipe.encoder!r} is no CLIP")
            encoder = TokenShiftClipEncoder.from_clip(encoder, shift_layers=recipe.shift_layers)
        scale = encoder.logit_scale or math.log(1 / 0.07)
        temporal, matcher = _part(TEMPORALS, recipe.temporal), _part(MATCHERS, recipe.matcher)
        positions = getattr(temporal, "position_embedding", None)
        if positions is not None:
            nn.init.normal_(positions.weight, std=POSITION_STD)
        model = RetrievalModel(encoder, temporal, matcher, logit_scale=scale, num_frames=NUM_FRAMES)
    model.name = recipe.name
    if recipe.reranker is not None:
        model.reranker = _part(RERANKERS, recipe.reranker)
        if recipe.start:
            found = load(recipe.start, device="cpu").reranker
            if found is None:
                raise InputError(f"{recipe.start!r} has no reranker to start from")
            model.reranker.load_state_dict(_for_both_passes(found.state_dict(), model.reranker))
    return model


def _part(registry: Mapping[str, Any], part: Part) -> Any:
    if part.name not in registry:
        known = ", ".join(registry)
        raise ConfigError(f"no part {part.name!r}{suggest(part.name, registry)} (known: {known})")
    cls = registry[part.name]
    return cls.from_config(from_dict(cls.Config, part.config))


def _for_both_passes(state: dict[str, Tensor], reranker: Reranker) -> dict[str, Tensor]:
    """Weights to start from; where each pass has layers of its own, both start from the ones that ``state`` has."""
    if not isinstance(reranker, CrossTVR) or reranker.temporal is None:
        return state
    layers = {
        name.removeprefix("qformer.encoder."): x
        for name, x in state.items()
        if name.startswith("qformer.encoder.")
    }
    return {**{f"temporal.{name}": x for name, x in layers.items()}, **state}


@torch.no_grad()
def start_in_joint_space(
    reranker: CrossTVR, encoder: Encoder, token: Float[Tensor, "token width"], word: Float[Tensor, "word dim"]
) -> None:
    """Let a Q-Former begin with words and image tokens in one space, and with attention that finds like by like.

    From random weights it does not leave the plateau of guessing in the steps that a laptop has: it would first have to
    learn what the dual encoder knows. So the maps of words, and of the keys and values of image tokens, are the joint
    space's, reduced to its main directions, and the maps between rows are identities, as X-Pool's are.

    Args:
        token, word: samples of what it will read.

    Raises:
        InputError: it has words of its own, or is wider than the joint space.
    """
    hidden = reranker.config.qformer.hidden
    if reranker.word_map is None or hidden > encoder.dim:
        raise InputError(
            f"expected a reranker that reads the first stage's words and is at most {encoder.dim} wide"
        )
    joint = encoder.project(token)
    every = torch.cat([joint / joint.norm(dim=1).mean(), word / word.norm(dim=1).mean()])
    main = torch.linalg.eigh(every.T @ every).eigenvectors[:, -hidden:].T.contiguous()
    width = token.shape[1]
    visual = main @ encoder.project(torch.eye(width, device=token.device)).T
    same = torch.eye(hidden, device=token.device)
    reranker.word_map.weight.copy_(main)
    encoders = [reranker.qformer.encoder, *([] if reranker.temporal is None else [reranker.temporal])]
    layers: list[Layer] = [layer for own in encoders for layer in own.layers]  # type: ignore[misc]
    for layer in layers:
        layer.attention.value.weight.copy_(same)
        layer.attention.out.weight.copy_(same)
        if layer.cross_attention is not None:
            layer.cross_attention.query.weight.copy_(same)
            layer.cross_attention.key.weight.copy_(visual)
            layer.cross_attention.value.weight.copy_(visual)
            layer.cross_attention.out.weight.copy_(VISUAL_SHARE * same)
        for linear in (layer.text_ffn.up, layer.text_ffn.down, layer.query_ffn.up, layer.query_ffn.down):
            linear.weight.mul_(SPREAD)
    reranker.match.weight.mul_(SPREAD)


class _Run:
    """What learns, and its loss on a batch."""

    def __init__(
        self, recipe: HeadRecipe, model: RetrievalModel, clips: StoryboardClips, tokens: list[TokenCache]
    ) -> None:
        self.recipe, self.model, self.clips = recipe, model, clips
        self.tokens = [_mapped(cache) for cache in tokens]
        self.reads_patches = model.temporal.reads_patches or isinstance(model.reranker, CrossTVR)
        if not self.reads_patches:
            self.frames = torch.cat([cached_frames(model.encoder, cache) for cache in tokens])
        model.requires_grad_(False)
        if isinstance(model.reranker, CrossTVR):
            if not recipe.start:
                self._start(model.reranker)
            self.module: nn.Module = model.reranker.requires_grad_(True)
        elif model.reranker is not None:
            self.module = model.reranker.requires_grad_(True)
        else:
            heads = {"temporal": model.temporal, "matcher": model.matcher}
            self.module = nn.ModuleDict(heads).requires_grad_(True)
            self.module.register_parameter("logit_scale", model.logit_scale)
            model.logit_scale.requires_grad_(True)

    def _start(self, reranker: CrossTVR) -> None:
        """With every fortieth video's tokens, and the words of as many captions."""
        token = self.tokens[0][:: len(self.tokens[0]) // 100 or 1, ::4].float().flatten(0, 2)
        captions = [caption.text for own in self.clips.captions[:200] for caption in own[:3]]
        text = self.model.encoder.encode_text(captions, words=True)
        assert text.word is not None
        assert text.word_mask is not None
        start_in_joint_space(reranker, self.model.encoder, token, text.word[text.word_mask])

    def loss(self, batch: ClipBatch) -> Tensor:
        """Of a batch."""
        model = self.model
        texts = [*batch.texts, *(self.clips.member_texts[row] for row in batch.members)]
        with torch.no_grad():
            text = model.encode_text(texts, words=isinstance(model.reranker, CrossTVR))
            video = self._videos(batch)
        if isinstance(model.reranker, CrossTVR):
            loss = self._matching_loss if self.recipe.loss == "matching" else self._choice_loss
            return loss(model.reranker, text, video)
        if model.reranker is not None:
            return self._tight_loss(model.reranker, text, video)
        return symmetric_contrastive(model.matcher(text, model.inform(video)), model.logit_scale)

    def _videos(self, batch: ClipBatch) -> VideoFeatures:
        """Tokens of the batch; of single frames only one of each video."""
        if not self.reads_patches:
            return real(self.frames[[*batch.rows, *(len(self.tokens[0]) + row for row in batch.members)]])
        patch = torch.cat([self.tokens[0][batch.rows], self.tokens[1][batch.members]])
        if self.recipe.single_frames:
            chosen = torch.cat([batch.frames, batch.member_frames])
            patch = patch[torch.arange(len(patch)), chosen][:, None]
        patch = patch.float()
        frame = self.model.encoder.project(patch[:, :, 0])
        mask = torch.ones(frame.shape[:2], dtype=torch.bool)
        return VideoFeatures(frame=frame, frame_mask=mask, patch=patch)

    def _tight_loss(self, reranker: Reranker, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Every text of the batch with every video; its scores are logits already."""
        pairs = torch.cartesian_prod(torch.arange(len(text)), torch.arange(len(video)))
        score = reranker(text, video, pairs).view(len(text), len(video))
        return symmetric_contrastive(score, score.new_zeros(()))

    def _matching_loss(self, reranker: CrossTVR, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """CrossTVR's: positives, and a hard negative for every text and for every video."""
        with torch.no_grad():
            similarity = self.model.matcher(text, self.model.inform(video))
            drawn = draw_matching_pairs(similarity * self.model.logit_scale.exp())
        return matching_loss(reranker.logits(text, video, drawn.pairs), drawn.match)

    def _choice_loss(self, reranker: CrossTVR, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Every text has to tell its own video from some others, which the first stage finds likely.

        The scores are added to the first stage's logits, as in search: what it knows need not be learned again. Single
        frames have no first stage that counts; there the scores stand alone.
        """
        own = torch.arange(len(text))
        with torch.no_grad():
            if self.recipe.single_frames:
                similarity = unit(text.sentence) @ unit(video.frame[:, 0]).T
            else:
                similarity = self.model.matcher(text, self.model.inform(video))
            logits = similarity * self.model.logit_scale.exp()
            likely = logits.masked_fill(own[:, None] == own, -torch.inf).softmax(dim=1)
            others = (likely + LEAST_LIKELY * (own[:, None] != own)).multinomial(self.recipe.negatives)
        videos = torch.cat([own[:, None], others], dim=1)
        pairs = torch.stack([own[:, None].expand_as(videos), videos], dim=2).flatten(0, 1)
        score = reranker.logits(text, video, pairs)
        if self.recipe.single_frames:
            total = score.diff(dim=1).view(videos.shape)
        else:
            total = reranker.fusion(score[:, 1].view(videos.shape), similarity.gather(1, videos))
        return cross_entropy(total, torch.zeros_like(own))


class _Validation:
    """R@1 on the validation split, and how often pairs that follow those of training are told apart."""

    def __init__(self, recipe: HeadRecipe, model: RetrievalModel) -> None:
        self.model = model
        self.single = recipe.single_frames
        galleries = ValidationGalleries(
            videos=recipe.validation_videos, pairs=recipe.validation_pairs, first_pair=recipe.train_pairs
        )
        self.relevance, self.texts = galleries.relevance, galleries.texts
        self.videos = {
            part: encode_storyboards(model.encoder, own, patches=True)
            for part, own in galleries.videos.items()
        }

    def measure(self) -> dict[str, float]:
        """Of the model as it stands; of one that learns on single frames, only of pairs."""
        found: dict[str, float] = {}
        model = self.model
        for part, video in self.videos.items():
            if self.single and part == "standard":
                continue
            text = model.encode_text(self.texts[part], words=model.reranker is not None)
            with torch.no_grad():
                similarity = model.similarity(text, replace(model.inform(video), patch=None))
            before = similarity
            if model.reranker is not None:
                similarity = rerank_similarity(similarity, model.reranker, text, video, depth=RERANK_DEPTH)
            if part == "standard":
                found["r1"] = t2v(similarity, self.relevance).recall_at[1]
                if model.reranker is not None:
                    found["r1_first_stage"] = t2v(before, self.relevance).recall_at[1]
            else:
                found[part] = told_apart(similarity)
        return found


def _mapped(cache: TokenCache) -> Tensor:
    patch = cache.mapped().patch
    assert patch is not None
    return patch
