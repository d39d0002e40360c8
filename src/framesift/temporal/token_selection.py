"""TS2-Net's token selection (Liu et al., ECCV 2022, "TS2-Net: Token Shift and Selection Transformer for Text-Video
Retrieval", section 3.2) and the transformer behind it.

Of every frame, the class token and the few patch tokens that a small net scores highest are kept; CLIP4Clip's
sequential transformer then lets the kept tokens of all frames inform one another, and the class tokens that come out
are the frames of the video.

Deviations from the published code, each with a field of :class:`TokenSelectionConfig` that takes it back. Evaluation
keeps the best tokens, where the published code draws noise as in training, so that its scores differ from run to run
(``noisy_evaluation``). A token is masked where its frame is (``tile_mask``). Besides, a frame's position counts the
real frames before it, so that padding in front changes nothing either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..clip_blocks import (
    INIT_STD,
    AttentionBlock,
    check_heads,
    frame_ranks,
    normal_embedding,
    start_from_text,
)
from ..errors import ConfigError, MissingFeatureError, ShapeError
from ..explanation import Explanation
from ..features import VideoFeatures
from ..perturbed_top_k import expected_top_k, top_k
from .base import Temporal, real_frames

__all__ = ["TokenScorer", "TokenSelection", "TokenSelectionConfig"]


@dataclass(frozen=True, kw_only=True)
class TokenSelectionConfig:
    """Configuration of :class:`TokenSelection`.

    Attributes:
        dim: dimensions of the joint space; even.
        num_selected: tokens kept a frame, the class token included.
        samples: draws of noise, in training.
        sigma: standard deviation of the noise, in units of the scores, which lie between -1 and 1.
        num_layers: blocks of the transformer.
        num_heads: attention heads; divides ``dim``.
        num_positions: learned positions: the most kept tokens of a video.
        all_tokens: give every kept token as a frame, ``num_selected`` of them in place of each, and not the class
            tokens alone. For other matchers than TS2-Net's, which reads class tokens.
        noisy_evaluation: keep the expectation under noise in evaluation too, as the published code does.
        tile_mask: mask the tokens as the published code does: with the frame mask repeated as a whole, although the
            tokens are in the order of frames. The two differ for videos with padded frames, which then take part
            while real ones do not, and the number of padded frames counts. For comparison only: there, padded frames
            hold the embeddings of blank pictures, and all videos have the frames that the model was trained with.
    """

    dim: int = 512  # CLIP ViT-B/32
    num_selected: int = 4  # TS2-Net: the class token and 3 patches
    samples: int = 500  # TS2-Net, released code
    sigma: float = 0.05  # TS2-Net, released code
    num_layers: int = 4  # TS2-Net, as CLIP4Clip
    num_heads: int = 8  # CLIP4Clip: text width // 64
    num_positions: int = 77  # CLIP's text positions, from which it starts
    all_tokens: bool = False
    noisy_evaluation: bool = False
    tile_mask: bool = False

    def __post_init__(self) -> None:
        check_heads(self.dim, self.num_heads, num_layers=self.num_layers, samples=self.samples)
        if self.dim % 2:
            raise ConfigError(f"dim={self.dim}: expected an even number")
        if self.num_selected < 2:
            raise ConfigError(
                f"num_selected={self.num_selected}: expected at least 2 (the class token is one)"
            )
        if self.num_positions < self.num_selected:
            raise ConfigError(
                f"num_positions={self.num_positions}: expected at least num_selected={self.num_selected}"
            )
        if not self.sigma > 0:
            raise ConfigError(f"sigma={self.sigma}: expected a positive number")

    @property
    def max_frames(self) -> int:
        """Most real frames of a video, by the positions."""
        return self.num_positions // self.num_selected


class TokenScorer(nn.Module):
    """How much each token of a frame matters, from the token and the class token of its frame.

    Args:
        dim: of a token; even.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        self.in_conv = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, half, bias=False), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(dim, half, bias=False), nn.GELU(), nn.Linear(half, 1, bias=False)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)

    def forward(self, token: Float[Tensor, "frame token dim"]) -> Float[Tensor, "frame token"]:
        """Scores between -1 and 1; token 0 is the class token."""
        local = self.in_conv(token)
        both = torch.cat([local, local[:, :1].expand_as(local)], dim=2)
        return self.out_conv(both).squeeze(2).tanh()


@final
class TokenSelection(Temporal):
    """Frames that have seen the most telling tokens of all frames of their video.

    Reads the patch tokens in the joint space, as :meth:`.RetrievalModel.inform` gives them. Parameters have the names
    of the published checkpoints, where ``scorer`` is ``visual_token_selector.score_predictor``,
    ``position_embedding`` is ``frame_position_embeddings`` and ``blocks`` is ``transformerClip.resblocks``.
    """

    name = "token_selection"
    Config = TokenSelectionConfig
    config: TokenSelectionConfig
    reads_patches = True
    explains = frozenset({"patch_selected"})

    def __init__(self, config: TokenSelectionConfig | None = None) -> None:
        config = config or TokenSelectionConfig()
        super().__init__(config)
        if config.all_tokens:
            self.tokens_per_frame = config.num_selected
        self.scorer = TokenScorer(config.dim)
        self.position_embedding = normal_embedding(config.num_positions, config.dim)
        self.blocks = nn.ModuleList(
            AttentionBlock(config.dim, config.num_heads) for _ in range(config.num_layers)
        )

    def start_from(self, text: Mapping[str, Tensor]) -> None:
        """Copy CLIP's text tower (:func:`.encoders.openai.text_blocks`), as TS2-Net does before training.

        Raises:
            ShapeError: the tower has fewer blocks or positions, or another width.
        """
        start_from_text(self.position_embedding, self.blocks, text)

    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """Encoded frames; padded ones hold finite numbers that mean nothing.

        Raises:
            MissingFeatureError: there are no patch tokens.
            ShapeError: frames or tokens are of another width or too few, or a video has more than ``max_frames``.
        """
        mask = self._token_mask(video.frame_mask)
        encoded = self.encode(self.select(video), video.frame_mask)
        if self.config.all_tokens:
            return replace(video, frame=encoded.flatten(1, 2), frame_mask=mask, patch=None)
        return replace(video, frame=encoded[:, :, 0], frame_mask=mask[:, :: self.config.num_selected])

    def explain(self, video: VideoFeatures) -> Explanation:
        """The tokens that are kept: the class token and the best patches, without noise."""
        frame, patch = self._tokens(video[:1])
        token = torch.cat([frame[:, :, None], patch], dim=2)[0]
        kept = top_k(self.scorer(token)[:, 1:], self.config.num_selected - 1) + 1
        selected = torch.zeros(token.shape[:2], dtype=torch.bool, device=token.device)
        selected[:, 0] = True
        selected = selected.scatter(1, kept, True)
        return Explanation(patch_selected=selected & video.frame_mask[0, :, None])

    def select(self, video: VideoFeatures) -> Float[Tensor, "video frame kept dim"]:
        """The kept tokens of every frame: the class token, which is the frame's embedding, then patches in their
        order; in training (or with ``noisy_evaluation``) the patches' expectation under noise."""
        frame, patch = self._tokens(video)
        if not frame.numel():
            return frame.new_zeros(*frame.shape[:2], self.config.num_selected, self.config.dim)
        token = torch.cat([frame[:, :, None], patch], dim=2).flatten(0, 1)
        score, patch, count = self.scorer(token)[:, 1:], token[:, 1:], self.config.num_selected - 1
        if self.training or self.config.noisy_evaluation:
            chosen = expected_top_k(score, patch, count, samples=self.config.samples, sigma=self.config.sigma)
        else:
            chosen = patch.gather(1, top_k(score, count)[..., None].expand(-1, -1, patch.shape[2]))
        return torch.cat([token[:, :1], chosen], dim=1).unflatten(0, frame.shape[:2])

    def encode(
        self, token: Float[Tensor, "video frame kept dim"], frame_mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "video frame kept dim"]:
        """The transformer over all tokens of a video; those of masked frames must be finite."""
        kept = self.config.num_selected
        counted = torch.ones_like(frame_mask) if self.config.tile_mask else frame_mask
        ranks = frame_ranks(self.name, counted, max_frames=self.config.max_frames)
        if not token.numel():
            return token
        positions = kept * ranks[..., None] + torch.arange(kept, device=ranks.device)
        x, mask = token + self.position_embedding(positions), self._token_mask(frame_mask)
        x = x.flatten(1, 2)
        for block in self.blocks:
            x = block(x, mask)
        return token + x.unflatten(1, token.shape[1:3])

    def _token_mask(self, frame_mask: Bool[Tensor, "video frame"]) -> Bool[Tensor, "video token"]:
        kept = self.config.num_selected
        return frame_mask.repeat(1, kept) if self.config.tile_mask else frame_mask.repeat_interleave(kept, 1)

    def _tokens(
        self, video: VideoFeatures
    ) -> tuple[Float[Tensor, "video frame dim"], Float[Tensor, "video frame patch dim"]]:
        """Class tokens and patch tokens, with zeros at masked frames, whatever was there."""
        dim, fewest = self.config.dim, self.config.num_selected
        if self.config.tile_mask:  # padded frames count
            video = replace(video, frame_mask=torch.ones_like(video.frame_mask))
        frame = real_frames(self, video, dim=dim)
        if video.patch is None:
            raise MissingFeatureError(f"{self.name}: needs patch tokens; encode the videos with patches=True")
        if frame.numel() and (video.patch.shape[2] < fewest or video.patch.shape[3] != dim):
            raise ShapeError(
                f"{self.name}: VideoFeatures.patch",
                expected=f"at least {fewest} tokens a frame (the class token first) of {dim} dimensions",
                got=list(video.patch.shape),
            )
        patch = video.patch[:, :, 1:].to(frame.dtype)
        return frame, patch.masked_fill(~video.frame_mask[..., None, None], 0.0)
