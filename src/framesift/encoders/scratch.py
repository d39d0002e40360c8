"""New, untrained dual encoders of the CLIP architecture: the same classes as the published ones, small sizes.

The result is an ordinary Hugging Face checkpoint directory, so that everything which loads CLIP loads it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

__all__ = ["ClipSizes", "create_clip", "train_tokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class ClipSizes:
    """Sizes of a dual encoder of the CLIP architecture."""

    dim: int = 256
    image_size_px: int = 96
    patch_size_px: int = 16
    vision_width: int = 192
    vision_layers: int = 6
    vision_heads: int = 3
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    context_length: int = 64
    vocabulary: int = 1024
    activation: str = "gelu"
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.25, 0.25, 0.25)


def train_tokenizer(corpus: Iterable[str], *, vocabulary: int) -> CLIPTokenizer:
    """A byte-level BPE tokenizer of CLIP's kind (lower case, end-of-word marks) learned from ``corpus``.

    Every byte is in the vocabulary, so that any text can be encoded; the end mark has the largest id, as CLIP's
    pooling by arg-max expects.
    """
    blank = CLIPTokenizer()  # for its normalizer and its rule of splitting words
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = blank.backend_tokenizer.normalizer
    learner.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocabulary - 2 - len(alphabet),
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    # The learner knows only the bytes it met at word ends; CLIP's vocabulary has every byte in both forms.
    merged = ["".join(pair) for pair in learned["merges"]]
    tokens = dict.fromkeys([*alphabet, *(f"{byte}</w>" for byte in alphabet), *merged, START, END])
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(pair) for pair in learned["merges"]])  # type: ignore[arg-type]


def create_clip(
    directory: str | Path, sizes: ClipSizes, *, corpus: Iterable[str], generator: torch.Generator
) -> None:
    """Write an untrained checkpoint (weights, tokenizer, preprocessing) to ``directory``."""
    tokenizer = train_tokenizer(corpus, vocabulary=sizes.vocabulary)
    special: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": sizes.text_width,
            "intermediate_size": 4 * sizes.text_width,
            "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.text_heads,
            "max_position_embeddings": sizes.context_length,
            "hidden_act": sizes.activation,
            "projection_dim": sizes.dim,
            **special,
        },
        vision_config={
            "hidden_size": sizes.vision_width,
            "intermediate_size": 4 * sizes.vision_width,
            "num_hidden_layers": sizes.vision_layers,
            "num_attention_heads": sizes.vision_heads,
            "image_size": sizes.image_size_px,
            "patch_size": sizes.patch_size_px,
            "hidden_act": sizes.activation,
            "projection_dim": sizes.dim,
        },
        projection_dim=sizes.dim,
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        # transformers initialises from the global generator
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        model = CLIPModel(config)
    model.save_pretrained(directory)
    tokenizer.model_max_length = sizes.context_length
    tokenizer.save_pretrained(directory)
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": sizes.image_size_px},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": sizes.image_size_px, "width": sizes.image_size_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(sizes.image_mean),
        "image_std": list(sizes.image_std),
        "do_convert_rgb": True,
    }
    (Path(directory) / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2))
