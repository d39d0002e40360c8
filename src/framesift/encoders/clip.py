"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).

A ViT whose class token, and a causal text transformer whose end-of-text token, are projected into one space.
The architecture is that of transformers (spec: section 0.1). Deviation from its defaults: texts carry no
attention mask, since the causal tower never lets the end mark see the padding that follows it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.initialization import no_init_weights

from .base import Encoder
from .tokenize import clean_text

__all__ = ["ClipEncoder"]


class ClipEncoder(Encoder):
    """CLIP dual encoder: ViT frames, causal text."""

    name: ClassVar[str] = "clip"
    model: CLIPModel

    @classmethod
    def build(cls, config: dict[str, Any]) -> CLIPModel:
        with no_init_weights():
            return CLIPModel(CLIPConfig.from_dict(config))

    @property
    def dim(self) -> int:
        return self.model.visual_projection.out_features

    @property
    def context_length(self) -> int:
        return self.model.text_model.embeddings.position_embedding.num_embeddings

    def clean(self, text: str) -> str:
        return clean_text(text)

    def forward_text(
        self, ids: Int[Tensor, "text word"], mask: Bool[Tensor, "text word"]
    ) -> Float[Tensor, "text dim"]:
        return self.model.text_projection(self.model.text_model(ids).pooler_output)

    def forward_words(
        self, ids: Int[Tensor, "text word"], mask: Bool[Tensor, "text word"]
    ) -> tuple[Float[Tensor, "text dim"], Float[Tensor, "text word dim"]]:
        states = self.model.text_model(ids)
        project = self.model.text_projection
        return project(states.pooler_output), project(states.last_hidden_state)

    def forward_pixels(self, pixels: Float[Tensor, "frame 3 y x"]) -> Float[Tensor, "frame dim"]:
        return self.model.visual_projection(self.model.vision_model(pixels).pooler_output)

    def forward_patches(
        self, pixels: Float[Tensor, "frame 3 y x"]
    ) -> tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        tower = self.model.vision_model
        # CLIP trains the last norm on the class token only; CLIP4Clip and successors apply it to every token
        tokens: Tensor = tower.post_layernorm(tower(pixels).last_hidden_state)
        return self.model.visual_projection(tokens[:, 0]), tokens
    @property
    def pad_id(self) -> int:
        """0, as OpenAI's ``tokenize`` pads: sentences do not see it, but X-CLIP reads the states of the padding."""
        return 0

