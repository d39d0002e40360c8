"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).

A ViT whose class token, and a causal text transformer whose end-of-text token, are projected into one space.
The architecture is that of transformers (spec: section 0.1). Deviation from its defaults: texts carry no
attention mask, since the causal tower never lets the end mark see the padding that follows it.

3-D patches (CLIP4Clip, section 3.2, "3D linear"): a patch embedding that sees the frame before and the frame after
too. Its kernel of three frames is one of two dimensions over nine channels, red, green and blue of the frame
before, of the frame itself and of the one after, so it is an ordinary checkpoint with ``num_channels`` 9.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.initialization import no_init_weights

from ..errors import CheckpointError, InputError
from .base import RGB, Encoder
from .tokenize import clean_text

__all__ = ["ClipEncoder", "channels_of_3d"]


class ClipEncoder(Encoder):
    """CLIP dual encoder: ViT frames, causal text; patches of one frame or, in 3-D, of three."""

    name: ClassVar[str] = "clip"
    model: CLIPModel

    @classmethod
    def build(cls, config: dict[str, Any]) -> CLIPModel:
        with no_init_weights():
            model = CLIPModel(CLIPConfig.from_dict(config))
        channels = model.vision_model.embeddings.patch_embedding.in_channels
        if channels not in (RGB, 3 * RGB):
            raise CheckpointError(f"num_channels={channels}: expected 3, or 9 for 3-D patches")
        return model

    def with_3d_patches(self) -> ClipEncoder:
        """A copy whose patches see the frames before and after, with weights of zero, so that nothing changes yet.

        Raises:
            InputError: the patches are 3-D already.
        """
        if self.neighbours:
            raise InputError("the encoder's patches are 3-D already")
        config = self.model.config.to_dict()
        config["vision_config"]["num_channels"] = 3 * RGB
        model, state = self.build(config), self.model.state_dict()
        name = "vision_model.embeddings.patch_embedding.weight"
        kernel = state[name]
        state[name] = channels_of_3d(torch.stack([0 * kernel, kernel, 0 * kernel], dim=2))
        model.load_state_dict(state)
        encoder = ClipEncoder(model, self.tokenizer, self.preprocessing)
        encoder.use(device=self.device, dtype=self.arithmetic.precision, backend=self.arithmetic.backend)
        return encoder

    @property
    def neighbours(self) -> int:
        """1 with 3-D patches."""
        return 1 if self.model.vision_model.embeddings.patch_embedding.in_channels == 3 * RGB else 0

    def preprocess(self, pixels: np.ndarray) -> Float[Tensor, "frame channel y x"]:
        """Frames of one video ``[frame, H, W, 3]`` uint8 as input of :meth:`encode_pixels`, on the CPU.

        With 3-D patches, a frame comes between the one before and the one after, which are zeros at the ends.
        """
        x = self.preprocessing(pixels)
        if not self.neighbours:
            return x
        around = torch.cat([torch.zeros_like(x[:1]), x, torch.zeros_like(x[:1])])
        return torch.cat([around[:-2], x, around[2:]], dim=1)

    @property
    def dim(self) -> int:
        return self.model.visual_projection.out_features

    @property
    def context_length(self) -> int:
        return self.model.text_model.embeddings.position_embedding.num_embeddings

    @property
    def pad_id(self) -> int:
        """0, as OpenAI's ``tokenize`` pads: sentences do not see it, but X-CLIP reads the states of the padding."""
        return 0

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

    def forward_pixels(self, pixels: Float[Tensor, "frame channel y x"]) -> Float[Tensor, "frame dim"]:
        return self.model.visual_projection(self.model.vision_model(pixels).pooler_output)

    def forward_patches(
        self, pixels: Float[Tensor, "frame channel y x"]
    ) -> tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        tower = self.model.vision_model
        # CLIP trains the last norm on the class token only; CLIP4Clip and successors apply it to every token
        tokens: Tensor = tower.post_layernorm(tower(pixels).last_hidden_state)
        return self.model.visual_projection(tokens[:, 0]), tokens

    def project(self, patch: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch dim"]:
        return self.model.visual_projection(patch)


def channels_of_3d(kernel: Float[Tensor, "width 3 3 y x"]) -> Float[Tensor, "width 9 y x"]:
    """A kernel ``[width, colour, frame, y, x]`` over three frames as one over the nine channels of three pictures."""
    return kernel.transpose(1, 2).flatten(1, 2).contiguous()
