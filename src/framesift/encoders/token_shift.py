"""CLIP with TS2-Net's token shift (Liu et al., ECCV 2022, "TS2-Net: Token Shift and Selection Transformer for
Text-Video Retrieval", section 3.1).

In a few blocks of the visual tower, some tokens of a frame enter the attention as the same tokens of the frame before,
and some as those of the frame after. Whole tokens move, nothing is learned, and the residual path stays. So the
weights are CLIP's, but a frame's embedding depends on its neighbours: frames are encoded as videos.

Deviation from the published code: the neighbours of a frame are real frames. There, the blank pictures that fill a
short video are frames like others, and the last real one gets tokens of a blank one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.initialization import no_init_weights

from ..errors import CheckpointError, InputError
from .base import RGB, Pictures
from .clip import ClipEncoder

__all__ = ["SHIFT_LAYERS", "TokenShiftClipConfig", "TokenShiftClipEncoder", "shift_tokens"]

SHIFT_LAYERS = (10, 11)  # TS2-Net, released code: the last two of 12 blocks
DIVISIONS = 7  # TS2-Net, released code: one token in every (tokens // 7) moves each way
FROM_PREVIOUS, FROM_NEXT = 1, 4  # TS2-Net, released code: the first token that moves; the class token stays


class TokenShiftClipConfig(CLIPConfig):
    """CLIP's configuration, with the blocks of the visual tower whose tokens are shifted, counted from 0."""

    __no_type_check__ = (
        True  # transformers' own checks take any key of a config.json; those of the tests do not
    )
    model_type = "token_shift_clip"

    shift_layers: list[int] | tuple[int, ...] = SHIFT_LAYERS


class TokenShiftClipEncoder(ClipEncoder):
    """CLIP dual encoder whose frames have seen their neighbours: as many each way as there are shifted blocks."""

    name: ClassVar[str] = "token_shift_clip"
    traceable: ClassVar[frozenset[str]] = frozenset(
        {"text"}
    )  # whose frames are seen depends on the videos' lengths

    @classmethod
    def build(cls, config: dict[str, Any]) -> CLIPModel:
        parsed = TokenShiftClipConfig.from_dict(config)
        vision: Any = parsed.vision_config
        layers, tokens = vision.num_hidden_layers, 1 + (vision.image_size // vision.patch_size) ** 2
        if not set(parsed.shift_layers) <= set(range(layers)):
            raise CheckpointError(
                f"shift_layers={list(parsed.shift_layers)}: expected blocks of the {layers} of the visual tower, from 0"
            )
        if vision.num_channels != RGB or tokens < DIVISIONS:
            raise CheckpointError(
                f"token shift with {vision.num_channels} channels and {tokens} tokens a frame: expected"
                f" {RGB} channels (no 3-D patches) and at least {DIVISIONS} tokens"
            )
        with no_init_weights():
            return CLIPModel(parsed)

    @classmethod
    def from_clip(
        cls, clip: ClipEncoder, *, shift_layers: Sequence[int] = SHIFT_LAYERS
    ) -> TokenShiftClipEncoder:
        """A copy of ``clip`` with token shift in ``shift_layers``, blocks of its visual tower counted from 0.

        Raises:
            CheckpointError: there are no such blocks, fewer than 7 tokens a frame, or the patches are 3-D.
        """
        config = {**clip.model.config.to_dict(), "model_type": cls.name, "shift_layers": list(shift_layers)}
        model = cls.build(config)
        model.load_state_dict(clip.model.state_dict())
        encoder = cls(model, clip.tokenizer, clip.preprocessing)
        encoder.use(device=clip.device, dtype=clip.arithmetic.precision, backend=clip.arithmetic.backend)
        return encoder

    @property
    def shift_layers(self) -> tuple[int, ...]:
        """Blocks of the visual tower whose tokens are shifted, from 0, ascending."""
        config: Any = self.model.config
        return tuple(sorted(config.shift_layers))

    def with_3d_patches(self) -> ClipEncoder:
        """Refused.

        Raises:
            InputError: always; 3-D patches and token shift were never trained together.
        """
        raise InputError("an encoder with token shift has no 3-D patches")

    def forward_pixels(
        self, pixels: Float[Tensor, "frame channel y x"], *, lengths: Sequence[int] | None = None
    ) -> Float[Tensor, "frame dim"]:
        """Preprocessed pixels -> frame embeddings, differentiable; ``lengths`` as for :meth:`forward_patches`."""
        return self.forward_patches(pixels, lengths=lengths)[0]

    def forward_patches(
        self, pixels: Float[Tensor, "frame channel y x"], *, lengths: Sequence[int] | None = None
    ) -> tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        """Preprocessed pixels -> frame embeddings, and the tower's final tokens. Differentiable.

        Args:
            lengths: frames of each video, when ``pixels`` are those of several, one after the other; default: of one.
        """
        tower = self.model.vision_model
        previous, following = adjacent_frames([len(pixels)] if lengths is None else lengths, pixels.device)
        x: Tensor = tower.pre_layrnorm(tower.embeddings(pixels))
        layers: Any = tower.encoder.layers
        for i, layer in enumerate(layers):
            if i in self.shift_layers:
                shifted = shift_tokens(layer.layer_norm1(x), previous, following)
                x = x + layer.self_attn(shifted)[0]
                x = x + layer.mlp(layer.layer_norm2(x))
            else:
                x = layer(x, None)
        tokens = tower.post_layernorm(x)
        return self.model.visual_projection(tokens[:, 0]), tokens

    def fingerprint(self) -> str:
        """Hash of what decides a feature's value, ``shift_layers`` too."""
        text = f"{super().fingerprint()} {self.shift_layers}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _encode_frames(
        self, videos: Sequence[Pictures], batch_size: int, *, patches: bool
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Whole videos together; one longer than ``batch_size`` in pieces, with the frames around that they see."""
        for pieces in self._pieces(videos, batch_size):
            lengths = [len(pixels) for pixels, _ in pieces]
            with self._inference():
                pixels = torch.cat([pixels for pixels, _ in pieces]).to(self.device)
                frame, patch = self.forward_patches(pixels, lengths=lengths)
            kept = torch.cat([rows for _, rows in pieces]).to(self.device)
            yield frame.float()[kept], patch.float()[kept] if patches else None

    def _pieces(self, videos: Sequence[Pictures], batch_size: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Preprocessed pixels and which of their frames to keep; together about ``batch_size`` frames of one size."""
        reach = len(self.shift_layers)
        together: list[tuple[Tensor, Tensor]] = []
        for video in videos:
            for start in range(0, len(video.pixels), batch_size):
                first, end = max(0, start - reach), min(start + batch_size, len(video.pixels))
                pixels = self.preprocess(video.pixels[first : end + reach])
                kept = torch.zeros(len(pixels), dtype=torch.bool)
                kept[start - first : end - first] = True
                count = sum(len(other) for other, _ in together)
                if together and (
                    count + len(pixels) > batch_size or together[0][0].shape[1:] != pixels.shape[1:]
                ):
                    yield together
                    together = []
                together.append((pixels, kept))
        if together:
            yield together


def adjacent_frames(
    lengths: Sequence[int], device: torch.device
) -> tuple[Int64[Tensor, " frame"], Int64[Tensor, " frame"]]:
    """Rows of the frames before and after each, of videos of these lengths one after the other; at an end, its own."""
    frames = torch.tensor(lengths, dtype=torch.long, device=device)
    ends = frames.cumsum(0)
    video = torch.arange(len(frames), device=device).repeat_interleave(frames)
    rows = torch.arange(len(video), device=device)
    return torch.maximum(rows - 1, (ends - frames)[video]), torch.minimum(rows + 1, ends[video] - 1)


def shift_tokens(
    token: Float[Tensor, "frame token width"],
    previous: Int64[Tensor, " frame"],
    following: Int64[Tensor, " frame"],
) -> Float[Tensor, "frame token width"]:
    """Tokens of frames, some of them from the frames ``previous`` and ``following``; token 0 is the class token.

    Of every ``tokens // 7`` tokens, one comes from the frame before and one from the frame after. Where frames have so
    few tokens that the two coincide, it comes from the frame after, and in the last frame from the one before.
    """
    rows = (following != torch.arange(len(token), device=token.device)).nonzero()[:, 0]
    step = token.shape[1] // DIVISIONS
    shifted = token.clone()
    shifted[:, FROM_PREVIOUS::step] = token[previous, FROM_PREVIOUS::step]
    shifted[rows, FROM_NEXT::step] = token[following[rows], FROM_NEXT::step]
    return shifted
