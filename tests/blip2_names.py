"""How BLIP-2's Q-Former is named in the files that LAVIS published."""

from __future__ import annotations

__all__ = ["lavis"]


def lavis(name: str) -> str:
    """Our name of a parameter -> LAVIS'."""
    if name == "query_tokens":
        return name
    for ours, theirs in (
        ("encoder.norm.", "embeddings.LayerNorm."),
        ("word_embedding.", "embeddings.word_embeddings."),
        ("position_embedding.", "embeddings.position_embeddings."),
        ("encoder.layers.", "encoder.layer."),
        ("query_ffn.up.", "intermediate_query.dense."),
        ("query_ffn.down.", "output_query.dense."),
        ("query_ffn.norm.", "output_query.LayerNorm."),
        ("text_ffn.up.", "intermediate.dense."),
        ("text_ffn.down.", "output.dense."),
        ("text_ffn.norm.", "output.LayerNorm."),
        ("attention.out.", "attention.output.dense."),
        ("attention.norm.", "attention.output.LayerNorm."),
        ("attention.query.", "attention.self.query."),
        ("attention.key.", "attention.self.key."),
        ("attention.value.", "attention.self.value."),
        ("cross_attention", "crossattention"),
    ):
        name = name.replace(ours, theirs)
    return f"Qformer.bert.{name}"
