"""Optimisers and schedules: X-Pool's, which our own recipes use too, and CLIP4Clip's.

X-Pool's follow the semantics of the early Hugging Face ``AdamW`` (spec: section 3), which differ from
``torch.optim.AdamW``: the epsilon is added before the bias correction, and the decay acts after the step.

CLIP4Clip's, X-CLIP's and TS2-Net's are those of the first BERT (spec: section 0.5): no bias correction, every tensor
clipped by itself, and a cosine that does not wait for the end of the warm-up. Their published learning rates belong
to weights in half precision; in fp32 a larger one is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import ConfigError
from ..model import RetrievalModel
from .recipe import OptimRecipe

__all__ = [
    "AdamW",
    "BertAdam",
    "adamw",
    "build_optimizer",
    "clip4clip_groups",
    "freeze",
    "joined_cosine",
    "parameter_groups",
    "warmup_cosine",
]

CLIP4CLIP_FROZEN = (  # freeze_layer_num 0, the released commands: all of CLIP that is no block, top norm or projection
    "encoder.model.vision_model.embeddings.",
    "encoder.model.vision_model.pre_layrnorm.",
    "encoder.model.text_model.embeddings.",
)


class AdamW(Optimizer):
    """Adam with bias correction and decoupled weight decay.

    ``m`` and ``v`` being the running moments and ``t`` the step::

        p -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)
        p -= lr * weight_decay * p
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[Mapping[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,  # type: ignore[arg-type]
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                state["step"] += 1
                state["exp_avg"].lerp_(p.grad, 1 - beta1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                size = group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
                p.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt().add_(group["eps"]), value=-size)
                p.mul_(1 - group["lr"] * group["weight_decay"])
        return loss


class BertAdam(Optimizer):
    """Adam without bias correction, with decoupled weight decay and a clip of its own for every tensor.

    ``m`` and ``v`` being the running moments of the gradient clipped to the norm ``max_norm``::

        p -= lr * (m / (sqrt(v) + eps) + weight_decay * p)

    A group with ``half=True`` is updated as CLIP4Clip updates CLIP's matrices: weights, gradients and moments are
    rounded to half precision, and so is every step of the arithmetic. The parameter itself stays what it is, and holds
    numbers that half precision has.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[Mapping[str, Any]],
        *,
        lr: float = 1e-4,  # CLIP4Clip, released commands, as the other defaults
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.2,
        max_norm: float = 1.0,
    ) -> None:
        super().__init__(
            params,  # type: ignore[arg-type]
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "max_norm": max_norm,
                "half": False,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Update every parameter that has a gradient; the gradients are clipped in place."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                nn.utils.clip_grad_norm_(p, group["max_norm"])
                weight, grad = (p.half(), p.grad.half()) if group["half"] else (p, p.grad)
                state = self.state[p]
                if not state:
                    state.update(exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
                # a state that was loaded has the parameter's type; what was rounded once stays as it is
                m = state["exp_avg"] = state["exp_avg"].to(weight.dtype)
                v = state["exp_avg_sq"] = state["exp_avg_sq"].to(weight.dtype)
                m.lerp_(grad, 1 - beta1)
                v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                update = m / v.sqrt().add_(group["eps"])
                weight.add_(update.add_(weight, alpha=group["weight_decay"]), alpha=-group["lr"])
                if group["half"]:
                    p.copy_(weight)
        return loss


def adamw(
    groups: Iterable[Mapping[str, Any]],
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.2,
) -> AdamW:
    """X-Pool's optimiser over parameter groups, each with its own ``lr`` (and ``weight_decay``, if it differs)."""
    return AdamW(groups, betas=betas, eps=eps, weight_decay=weight_decay)


def warmup_cosine(optimizer: Optimizer, *, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Linear warm-up from 0, then half a cosine to 0 over the remaining steps; call ``step()`` after each update.

    The first step has learning rate 0, as in the reference.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / max(1, warmup_steps)
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))))

    return LambdaLR(optimizer, factor)


def joined_cosine(optimizer: Optimizer, *, total_steps: int | float, warmup: float = 0.1) -> LambdaLR:
    """Linear warm-up from 0 over the share ``warmup`` of the steps, then what is left of half a cosine over all.

    At the junction the factor falls from 1 to ``(1 + cos(pi * warmup)) / 2``. Call ``step()`` after each update; the
    first step has learning rate 0 (CLIP4Clip, released code).
    """

    def factor(step: int) -> float:
        progress = step / total_steps
        return progress / warmup if progress < warmup else 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def clip4clip_groups(
    model: nn.Module, *, lr: float = 1e-4, clip_lr: float = 1e-7, weight_decay: float = 0.2
) -> list[dict[str, Any]]:
    """The trainable parameters of a :class:`framesift.model.RetrievalModel` in CLIP4Clip's four groups.

    CLIP's own (the encoder's and the logit scale) learn at ``clip_lr``, the rest at ``lr``; everything is decayed but
    what has "bias" in its name, so gains, tables and the logit scale are. Groups without parameters are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            own = name.startswith("encoder.") or name == "logit_scale"
            groups.setdefault((own, "bias" in name), []).append(p)
    return [
        {"params": params, "lr": clip_lr if own else lr, "weight_decay": 0.0 if bias else weight_decay}
        for (own, bias), params in groups.items()
    ]


def freeze(model: RetrievalModel, what: str) -> None:
    """Say which parameters learn: :attr:`.OptimRecipe.freeze`.

    Raises:
        ConfigError: nothing is left to learn, or the encoder has no such parts.
    """
    model.requires_grad_(True)
    for name, p in model.encoder.named_parameters():
        if name.startswith("model.logit_"):  # the scale that counts is the model's own
            p.requires_grad_(False)
    if what == "encoder":
        model.encoder.requires_grad_(False)
    elif what == "clip4clip":
        frozen = [p for name, p in model.named_parameters() if name.startswith(CLIP4CLIP_FROZEN)]
        if not frozen:
            raise ConfigError(
                f"optim.freeze='clip4clip' is for CLIP encoders; this one is {model.encoder.name!r}"
            )
        for p in frozen:
            p.requires_grad_(False)
    if not any(p.requires_grad for name, p in model.named_parameters() if name != "logit_scale"):
        raise ConfigError(
            "nothing to train: the encoder is frozen (optim.freeze), and the rest of the system has no parameters"
        )


def parameter_groups(model: nn.Module, optim: OptimRecipe) -> list[dict[str, Any]]:
    """The trainable parameters of a :class:`framesift.model.RetrievalModel`, or of some parts of one, in named groups.

    ``encoder`` and the logit scale learn at ``lr_encoder``, the rest at ``lr_head``, and so does the scale where the
    encoder is frozen; ``_plain`` groups are not decayed, ``_half`` groups are kept in half precision. Groups without
    parameters are left out.
    """
    half = _half_names(model) if optim.precision == "fp16_weights" else set[str]()
    tuned = any(p.requires_grad for name, p in model.named_parameters() if name.startswith("encoder."))
    groups: dict[tuple[str, bool, bool], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            own = name.startswith("encoder.") or (name == "logit_scale" and tuned)
            decayed = {"all": True, "not_bias": "bias" not in name, "matrices": p.ndim >= 2}[optim.decay]
            groups.setdefault(("encoder" if own else "head", decayed, name in half), []).append(p)
    return [
        {
            "name": part + ("" if decayed else "_plain") + ("_half" if rounded else ""),
            "params": params,
            "lr": optim.lr_encoder if part == "encoder" else optim.lr_head,
            "weight_decay": optim.weight_decay if decayed else 0.0,
            **({"half": True} if rounded else {}),
        }
        for (part, decayed, rounded), params in groups.items()
    ]


def build_optimizer(model: nn.Module, optim: OptimRecipe, *, steps: int) -> tuple[Optimizer, LambdaLR]:
    """The recipe's optimiser over :func:`parameter_groups`, and its schedule over ``steps`` steps.

    Raises:
        ConfigError: half precision is asked for without ``bert_adam``, to which it belongs.
    """
    if optim.precision == "fp16_weights" and optim.optimizer != "bert_adam":
        raise ConfigError("optim.precision='fp16_weights' goes with optim.optimizer='bert_adam' only")
    groups = parameter_groups(model, optim)
    with torch.no_grad():
        for p in [p for group in groups if group.get("half") for p in group["params"]]:
            p.copy_(p.half())
    if optim.optimizer == "bert_adam":
        rule: Optimizer = BertAdam(groups)
    elif optim.optimizer == "adam":
        rule = Adam(groups)
    else:
        rule = AdamW(groups)
    if optim.schedule == "joined_cosine":
        return rule, joined_cosine(rule, total_steps=steps, warmup=optim.warmup)
    warmup = int(optim.warmup * steps)
    if optim.schedule == "cosine":
        return rule, warmup_cosine(rule, total_steps=steps, warmup_steps=warmup)
    return rule, LambdaLR(rule, lambda step: min(1.0, step / max(1, warmup)))


def _half_names(model: nn.Module) -> set[str]:
    """Parameters of the encoder's linear maps and convolutions, which CLIP4Clip keeps in half precision."""
    return {
        f"{module_name}.{name}"
        for module_name, module in model.named_modules()
        if module_name.startswith("encoder.") and isinstance(module, nn.Linear | nn.Conv2d)
        for name, _ in module.named_parameters(recurse=False)
    }
