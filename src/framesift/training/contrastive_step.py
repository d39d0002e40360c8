"""A step of contrastive training: features of a batch, every text with every video of it, and the gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..features import TextFeatures, VideoFeatures
from ..model import RetrievalModel
from .gather import World
from .grad_cache import backward_in_chunks
from .losses import symmetric_contrastive
from .recipe import Recipe
from .source import Batch, PairOrder, Source

__all__ = ["ContrastiveStep"]


@dataclass(frozen=True)
class ContrastiveStep:
    """Adds the gradients of the loss of a batch, of which this process has a share, and returns its value.

    Attributes:
        source: features of a batch, with gradients where its encoder learns.
        order: which video a caption is of.
        world: the processes whose shares make one batch.
    """

    recipe: Recipe
    model: RetrievalModel
    source: Source
    order: PairOrder
    world: World

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, a scalar; gradients are left at the parameters."""
        optim, model, world = self.recipe.optim, self.model, self.world
        half = optim.precision == "bf16"
        owner = self.order.owner[batch.captions].to(model.device)

        def encode(part: Batch) -> tuple[TextFeatures, VideoFeatures]:
            with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
                text, video = self.source.encode(part)
            return text.to(dtype=torch.float32), video.to(dtype=torch.float32)

        def loss(text: TextFeatures, video: VideoFeatures) -> Tensor:
            as_published = optim.gather == "reference"
            with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
                if as_published and model.reranker is not None:
                    similarity, everyone = self._scores(text, video), owner  # negatives of one process only
                elif as_published:
                    text = world.gather_features(text, own_gradient=True)
                    video = world.gather_features(video, own_gradient=True)
                    similarity, everyone = self._scores(text, video), world.gather(owner)
                else:
                    rows = self._scores(text, world.gather_features(video))
                    similarity, everyone = world.gather(rows), world.gather(owner)
            related = everyone[:, None] == everyone if self.recipe.mask_own else None
            scale = model.logit_scale if model.reranker is None else torch.zeros((), device=model.device)
            return symmetric_contrastive(similarity.float(), scale, related=related)

        return backward_in_chunks(batch.split(optim.chunk), encode, loss)

    def _scores(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video"]:
        """Every text with every video: by the matcher, or by a tight reranker, which takes pairs."""
        if self.model.reranker is None:
            return self.model.matcher(text, video)
        device = text.sentence.device
        pairs = torch.cartesian_prod(
            torch.arange(len(text), device=device), torch.arange(len(video), device=device)
        ).reshape(-1, 2)
        return self.model.reranker(text, video, pairs).reshape(len(text), len(video))
