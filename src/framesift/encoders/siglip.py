"""SigLIP: Sigmoid Loss for Language Image Pre-Training (Zhai et al., 2023), and SigLIP 2 (2025).

Both towers are bidirectional; frames are pooled by an attention head, texts by their last position. The text
tower was trained on texts padded to a fixed length without a mask, so padding is part of its input: each text
is padded to that length, whatever its batch. SigLIP 2 checkpoints of a fixed resolution have SigLIP's
architecture; the NaFlex ones keep the aspect ratio and take whole patches.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel
from transformers.initialization import no_init_weights

from ..errors import CheckpointError
from .base import Encoder

__all__ = ["Siglip2Encoder", "SiglipEncoder"]


class _SiglipTowers(Encoder):
    """What the two architectures share: the text tower, and where their outputs are."""

    model: Any  # SiglipModel or Siglip2Model

    @property
    def dim(self) -> int:
        return self.model.config.vision_config.hidden_size

    @property
    def context_length(self) -> int:
        return self.model.text_model.embeddings.position_embedding.num_embeddings

    @property
    def padded_length(self) -> int | None:
        return self.context_length

    def clean(self, text: str) -> str:
        return text.lower()  # SigLIP's tokenizer does it; the Gemma tokenizer of SigLIP 2 expects it done

    def forward_words(
        self, ids: Int[Tensor, "text word"], mask: Bool[Tensor, "text word"]
    ) -> tuple[Float[Tensor, "text dim"], Float[Tensor, "text word dim"]]:
        states = self.model.text_model(ids)
        return states.pooler_output, self.model.text_model.head(states.last_hidden_state)


class SiglipEncoder(_SiglipTowers):
    """SigLIP dual encoder, and SigLIP 2 at a fixed resolution."""

    name: ClassVar[str] = "siglip"

    @classmethod
    def build(cls, config: dict[str, Any]) -> SiglipModel:
        parsed = SiglipConfig.from_dict(config)
        _require_head(parsed)
        with no_init_weights():
            return SiglipModel(parsed)

    def forward_patches(
        self, pixels: Float[Tensor, "frame 3 y x"]
    ) -> tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        states = self.model.vision_model(pixels)
        return states.pooler_output, states.last_hidden_state


class Siglip2Encoder(_SiglipTowers):
    """SigLIP 2 NaFlex: frames of any aspect ratio, as whole patches."""

    name: ClassVar[str] = "siglip2"
    traceable: ClassVar[frozenset[str]] = frozenset(
        {"text"}
    )  # the positions are resized to each batch's grid

    @classmethod
    def build(cls, config: dict[str, Any]) -> Siglip2Model:
        parsed = Siglip2Config.from_dict(config)
        _require_head(parsed)
        with no_init_weights():
            return Siglip2Model(parsed)

    def forward_patches(
        self, pixels: Float[Tensor, "frame 3 y x"]
    ) -> tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        size = self.preprocessing.patch_size
        count, _, height, width = pixels.shape
        rows, columns = height // size, width // size
        grid = pixels.reshape(count, 3, rows, size, columns, size)
        patches = grid.permute(0, 2, 4, 3, 5, 1).reshape(count, rows * columns, size * size * 3)
        # the frames of a batch have one size: nothing is padded, so the mask is all ones
        states = self.model.vision_model(
            patches,
            pixel_attention_mask=torch.ones(count, rows * columns, dtype=torch.long, device=pixels.device),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=pixels.device),
        )
        return states.pooler_output, states.last_hidden_state


def _require_head(config: Any) -> None:
    if not config.vision_config.vision_use_head:
        raise CheckpointError(
            "this SigLIP has no pooling head (vision_use_head = false), so no frame embeddings"
        )
