"""Tiny random checkpoints in the Hugging Face layout: weights, preprocessor, and a tokenizer of a few lines.

For every test that needs a real encoder but no knowledge. A call writes one directory in well under a second;
the same ``seed`` writes the same weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from framesift.encoders.token_shift import TokenShiftClipConfig

__all__ = ["tiny_clip", "tiny_siglip", "tiny_siglip2", "tiny_token_shift_clip"]

CORPUS = [
    "a red circle moves to the left",
    "a small blue square turns green",
    "a dog runs across the yard, then two cats jump",
    "a man is playing the guitar while it rains",
    "the quick brown fox isn't lazy; 12 frames and 7 words!",
]


def tiny_clip(directory: str | Path, *, seed: int = 0, dim: int = 24, size_px: int = 32) -> Path:
    """A two-layer CLIP: joint width ``dim``, ``size_px`` pixels (patches of 8), context of 16 tokens."""
    return _tiny_clip(Path(directory), CLIPConfig, seed=seed, dim=dim, size_px=size_px)


def tiny_token_shift_clip(
    directory: str | Path,
    *,
    seed: int = 0,
    dim: int = 24,
    size_px: int = 32,
    shift_layers: tuple[int, ...] = (0, 1),
) -> Path:
    """The same with token shift."""
    options = {"seed": seed, "dim": dim, "size_px": size_px, "shift_layers": list(shift_layers)}
    return _tiny_clip(Path(directory), TokenShiftClipConfig, **options)


def _tiny_clip(directory: Path, kind, *, seed: int, dim: int, size_px: int, **options) -> Path:  # type: ignore[no-untyped-def]
    tokenizer = _clip_tokenizer()
    tower = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64, "projection_dim": dim}
    config = kind(
        text_config={
            **tower,
            "hidden_size": 32,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**tower, "hidden_size": 48, "image_size": size_px, "patch_size": 8},
        projection_dim=dim,
        **options,
    )
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size_px}, crop_size={"height": size_px, "width": size_px}
    )
    return _write(directory, CLIPModel, config, processor, tokenizer, seed)


def tiny_siglip(directory: str | Path, *, seed: int = 0, dim: int = 32, size_px: int = 32) -> Path:
    """A two-layer SigLIP (fixed square pictures, text always padded to its 16 tokens)."""
    tokenizer = _siglip_tokenizer()
    tower = {
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_size": dim,
        "intermediate_size": 2 * dim,
    }
    config = SiglipConfig(
        text_config={**tower, "vocab_size": len(tokenizer), "max_position_embeddings": 16, **_ids(tokenizer)},
        vision_config={**tower, "image_size": size_px, "patch_size": 8},
    )
    processor = SiglipImageProcessorPil(size={"height": size_px, "width": size_px})
    return _write(Path(directory), SiglipModel, config, processor, tokenizer, seed)


def tiny_siglip2(directory: str | Path, *, seed: int = 0, dim: int = 32, num_patches: int = 16) -> Path:
    """A two-layer SigLIP2 of the NaFlex kind: aspect ratio kept, at most ``num_patches`` of 8 pixels."""
    tokenizer = _siglip2_tokenizer()
    tower = {
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_size": dim,
        "intermediate_size": 2 * dim,
    }
    config = Siglip2Config(
        text_config={**tower, "vocab_size": len(tokenizer), "max_position_embeddings": 16, **_ids(tokenizer)},
        vision_config={**tower, "num_patches": num_patches, "patch_size": 8},
    )
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=num_patches)
    return _write(Path(directory), Siglip2Model, config, processor, tokenizer, seed)


def _write(directory: Path, kind, config, processor, tokenizer, seed: int) -> Path:  # type: ignore[no-untyped-def]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config).eval()
        for parameter in model.parameters():  # away from zeros and ones: a swapped or forgotten tensor shows
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _clip_tokenizer() -> CLIPTokenizer:
    """CLIP's own pipeline (byte-level BPE, end-of-word marks) with merges learned from ``CORPUS``."""
    empty = CLIPTokenizer(model_max_length=16).backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=700,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            special_tokens=[*(f"{c}</w>" for c in alphabet)],
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    vocab = dict(learned["vocab"])
    for special in ("<|startoftext|>", "<|endoftext|>"):  # the end of text is the largest id, as in CLIP
        vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=[tuple(pair) for pair in learned["merges"]], model_max_length=16)


def _siglip_tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE that ends a text with ``</s>`` and pads with ``<pad>``."""
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    learner.decoder = decoders.ByteLevel()
    learner.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<pad>", "</s>", "<unk>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    learner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=learner,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=16,
        padding_side="right",
    )


def _siglip2_tokenizer() -> Siglip2Tokenizer:
    """One token per letter, in the layout of Gemma's tokenizer."""
    letters = sorted(set("".join(CORPUS).lower()) - {" "} | {"\u2581"})
    vocab = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{i:02X}>" for i in range(256)), *letters]
    return Siglip2Tokenizer(
        vocab={token: i for i, token in enumerate(vocab)}, model_max_length=16, padding_side="right"
    )


def _ids(tokenizer: PreTrainedTokenizerFast | Siglip2Tokenizer) -> dict[str, int]:
    end = tokenizer.eos_token_id
    return {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": end, "bos_token_id": end}
