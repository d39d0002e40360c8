"""CLIP's residual attention blocks, which CLIP4Clip stacks over frames (Luo et al. 2021, section 3.3).

Attention, then an MLP, each behind a norm and added to its input (spec: section 0.1). Temporal modules and
rerankers start theirs from the blocks of CLIP's text tower, whose parameter names they share. Deviation from
CLIP's own: the norms' epsilon is CLIP4Clip's 1e-12.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from .errors import ConfigError, ShapeError

__all__ = [
    "LAYER_NORM_EPS",
    "AttentionBlock",
    "QuickGELU",
    "check_heads",
    "frame_ranks",
    "normal_embedding",
    "normal_linear",
    "start_from_text",
]

LAYER_NORM_EPS = 1e-12  # CLIP4Clip, released code
INIT_STD = 0.02  # CLIP4Clip, released code


class QuickGELU(nn.Module):
    """CLIP's activation, ``x * sigmoid(1.702 x)``."""

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens of a sequence, to real tokens only."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = normal_linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "sequence token dim"], mask: Bool[Tensor, "sequence token"]
    ) -> Float[Tensor, "sequence token dim"]:
        """What every token gathers from the tokens that ``mask`` shows; from all where it shows none."""
        q, k, v = (
            linear(x, self.in_proj_weight, self.in_proj_bias)
            .unflatten(-1, (3, self.num_heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        shown = mask | ~mask.any(
            dim=1, keepdim=True
        )  # a softmax over nothing would be NaN, in its gradient too
        attended = scaled_dot_product_attention(q, k, v, attn_mask=shown[:, None, None])
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """One block: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``.

    Args:
        dim: width of the tokens.
        num_heads: attention heads; divides ``dim``.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.attn = SelfAttention(dim, num_heads)
        self.ln_1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=normal_linear(dim, 4 * dim), gelu=QuickGELU(), c_proj=normal_linear(4 * dim, dim)
            )
        )
        self.ln_2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)

    def forward(
        self, x: Float[Tensor, "sequence token dim"], mask: Bool[Tensor, "sequence token"]
    ) -> Float[Tensor, "sequence token dim"]:
        """Tokens of the same sequences; masked ones (which must be finite) are seen by no real one."""
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


def normal_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear map that starts as the field's do: normal weights of deviation 0.02, no bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=INIT_STD)
    nn.init.zeros_(layer.bias)
    return layer


def normal_embedding(rows: int, dim: int) -> nn.Embedding:
    """A table of positions that starts likewise."""
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=INIT_STD)
    return table


def check_heads(dim: int, num_heads: int, **counts: int) -> None:
    """Refuse sizes that cannot be built.

    Raises:
        ConfigError: a size is below 1, or ``num_heads`` does not divide ``dim``.
    """
    for name, value in {"dim": dim, "num_heads": num_heads, **counts}.items():
        if value < 1:
            raise ConfigError(f"{name}={value}: expected at least 1")
    if dim % num_heads:
        raise ConfigError(f"num_heads={num_heads}: expected a divisor of dim={dim}")


def frame_ranks(
    what: str, frame_mask: Bool[Tensor, "video frame"], *, max_frames: int
) -> Int64[Tensor, "video frame"]:
    """The place of every real frame among its video's real frames, from 0: padding does not move it.

    Raises:
        ShapeError: a video has more than ``max_frames`` real frames; ``what`` is named.
    """
    most = int(frame_mask.sum(dim=1).max()) if frame_mask.numel() else 0
    if most > max_frames:
        raise ShapeError(
            f"{what}: frames of a video",
            expected=f"at most {max_frames} (max_frames: its positions)",
            got=most,
        )
    return (frame_mask.cumsum(dim=1) - 1).clamp_min(0)


@torch.no_grad()
def start_from_text(positions: nn.Embedding, blocks: nn.ModuleList, text: Mapping[str, Tensor]) -> None:
    """Copy CLIP's text tower into a stack over frames: first positions, and block i into block i.

    Args:
        positions: the table of the stack.
        blocks: its :class:`AttentionBlock` s.
        text: the tower under OpenAI's names, see :func:`.encoders.openai.text_blocks`.

    Raises:
        ShapeError: the tower has fewer blocks or positions, or another width.
    """
    table, hidden = text["positional_embedding"], text["transformer.resblocks.0.mlp.c_fc.bias"]
    layers = len({name.split(".")[2] for name in text if name.startswith("transformer.resblocks.")})
    rows, dim = positions.weight.shape
    if len(table) < rows or table.shape[1] != dim or layers < len(blocks) or len(hidden) != 4 * dim:
        raise ShapeError(
            "the text tower to start from",
            expected=f"width {dim} (in its MLPs {4 * dim}), at least {rows} positions and {len(blocks)} blocks",
            got=f"width {table.shape[1]} ({len(hidden)}), {len(table)} positions and {layers} blocks",
        )
    positions.weight.copy_(table[:rows])
    for i, block in enumerate(blocks):
        prefix = f"transformer.resblocks.{i}."
        block.load_state_dict({name: text[prefix + name] for name in block.state_dict()})
