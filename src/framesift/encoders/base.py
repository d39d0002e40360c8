"""The interface of encoders: texts and frames into one space.

An encoder owns a tower for each, the tokenizer and the preprocessing of its weights. Subclasses say how ids
and pixels go through the towers; batching, padding, precision, files and the fingerprint are here.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..errors import InputError, ShapeError
from ..features import TextFeatures, VideoFeatures
from .arithmetic import Arithmetic, choose
from .prefetch import on_device
from .preprocess import Preprocess
from .tokenize import padded_ids, ragged_ids
from .weights import hash_state, torch_dtype, write_state

if TYPE_CHECKING:
    from .gate import GateReport
    from .openvino_towers import OpenVinoTowers

__all__ = ["Encoder", "Pictures", "resolve_device"]

TEXT_BATCH = 256
"""Texts that go through the tower together; sorted by length, so that little of a batch is padding."""

RGB = 3

MARKS = 2
"""Most tokens of a text that are no words: the marks of its start and its end."""


@runtime_checkable
class Pictures(Protocol):
    """Anything with 8-bit RGB ``pixels`` ``[frame, height, width, 3]``, such as ``framesift.Frames``."""

    @property
    def pixels(self) -> np.ndarray: ...


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        InputError: no such device, or CUDA was asked for and is not available.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise InputError(f"device={device!r}: expected auto, cpu, cuda or cuda:N") from None
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={str(device)!r}: {torch.cuda.device_count()} CUDA devices here; use device='cpu'"
        )
    return resolved


class Encoder(nn.Module, ABC):
    """Texts and frames -> raw (not normalised) embeddings of one space.

    Attributes:
        model: the towers, a transformers model in fp32.
        tokenizer: the tokenizer of the weights.
        preprocessing: the resizing and scaling of the weights.
        arithmetic: what computes the towers in ``encode_*``, and in which numbers; the weights and the features stay
            fp32. It is chosen by :meth:`use`.
        openvino: what runs them where that is OpenVINO.
        compared: what the gate before a precision below fp32 measured, where it was asked.
    """

    name: ClassVar[str]  # registry key: the model_type of config.json

    traceable: ClassVar[frozenset[str]] = frozenset({"text", "vision"})
    """Towers whose computation does not depend on the values or the number of their inputs, so that OpenVINO can run
    what was recorded of it once."""

    def __init__(self, model: nn.Module, tokenizer: Any, preprocessing: Preprocess) -> None:
        super().__init__()
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.arithmetic = Arithmetic()
        self.openvino: OpenVinoTowers | None = None
        self.compared: GateReport | None = None
        self._hashed: tuple[Any, str] | None = None

    # what a family defines

    @classmethod
    @abstractmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        """The towers of a ``config.json``, weights not yet set."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the joint space."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Most tokens of a text, special tokens included."""

    @abstractmethod
    def forward_words(
        self, ids: Int[Tensor, "text word"], mask: Bool[Tensor, "text word"]
    ) -> tuple[Float[Tensor, "text dim"], Float[Tensor, "text word dim"]]:
        """Token ids -> text embeddings, and every token's embedding in the same space. Differentiable."""

    @abstractmethod
    def forward_patches(
        self, pixels: Float[Tensor, "frame channel y x"]
    ) -> tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        """Preprocessed pixels -> frame embeddings, and the tower's final tokens (normalised by its last
        layer norm, not projected; a class token comes first). Differentiable."""

    def forward_text(
        self, ids: Int[Tensor, "text word"], mask: Bool[Tensor, "text word"]
    ) -> Float[Tensor, "text dim"]:
        """Token ids -> text embeddings, differentiable."""
        return self.forward_words(ids, mask)[0]

    def forward_pixels(self, pixels: Float[Tensor, "frame channel y x"]) -> Float[Tensor, "frame dim"]:
        """Preprocessed pixels -> frame embeddings, differentiable."""
        return self.forward_patches(pixels)[0]

    def project(self, patch: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch dim"]:
        """Patch tokens into the joint space, by the map of the frame embeddings. Differentiable.

        Raises:
            InputError: frame embeddings do not come of a token by a map.
        """
        raise InputError(f"the patch tokens of {self.name!r} have no map into the joint space")

    def clean(self, text: str) -> str:
        """A text as the tokenizer of the weights saw them in training."""
        return text

    @property
    def padded_length(self) -> int | None:
        """Length to which every text is padded, or None for the longest of its batch."""
        return None

    @property
    def neighbours(self) -> int:
        """How many frames before and after its own a frame's input shows."""
        return 0

    @property
    def pad_id(self) -> int:
        """Token that stands at padded positions."""
        pad_id = self.tokenizer.pad_token_id
        return 0 if pad_id is None else pad_id

    # what all families share

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of what torch computes in ``encode_*``."""
        return self.arithmetic.dtype

    @property
    def logit_scale(self) -> float | None:
        """Logarithm of the scale that the weights were trained with, if they say."""
        scale = getattr(self.model, "logit_scale", None)
        return scale.item() if isinstance(scale, Tensor) else None

    def use(
        self,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "fp32",
        backend: str = "auto",
    ) -> Encoder:
        """Move to ``device``; compute ``encode_*`` in ``dtype`` by ``backend``.

        Nothing is compiled before it is needed. How far a precision below fp32 is from it is not looked at here, but by
        :func:`framesift.load` (see :mod:`.gate`).

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            dtype: ``fp32``, ``bf16``; on CUDA also ``fp16``, on CPUs with OpenVINO ``int8``.
            backend: ``torch``; ``openvino``, for CPUs; ``auto`` takes OpenVINO on a CPU where it is installed and the
                encoder is large enough for it to pay.

        Raises:
            InputError: an unknown name, no such device, or fp16 on the CPU, where it is several times slower than fp32.
            MissingExtraError: OpenVINO is asked for and not installed.
        """
        target = resolve_device(device)
        size = sum(x.numel() for x in self.model.parameters())
        self.arithmetic = choose(backend=backend, precision=dtype, device=target, parameters=size)
        self.openvino = self.compared = None
        if self.arithmetic.backend == "openvino":
            from .openvino_towers import OpenVinoTowers

            # only it computes int8: torch would take its place in fp32, and the gate would praise that
            required = backend == "openvino" or self.arithmetic.precision == "int8"
            self.openvino = OpenVinoTowers(self.arithmetic.precision, required=required)
        return self.to(target)

    def preprocess(self, pixels: np.ndarray) -> Float[Tensor, "frame channel y x"]:
        """Frames of one video ``[frame, H, W, 3]`` uint8 as input of :meth:`encode_pixels`, on the CPU."""
        return self.preprocessing(pixels)

    def tokenize(
        self, texts: Sequence[str], *, context: int | None = None, length: int | None = None
    ) -> tuple[Int[Tensor, "text word"], Bool[Tensor, "text word"]]:
        """Ids and mask of cleaned texts, cut to ``context`` (default: the weights') with the end mark kept, and padded
        to ``length`` (default: as the weights need, or the longest)."""
        return self._pad(self._token_rows(texts, context=context), length=length)

    def words(self, text: str, *, num_words: int | None = None) -> tuple[str, ...]:
        """The tokens of a text that ``encode_text(words=True)`` embeds, readable, special ones included."""
        (row,) = self._token_rows([text], context=num_words)
        return tuple(self.tokenizer.decode([token]).strip() for token in row)

    def encode_text(
        self, texts: Sequence[str], *, words: bool = False, num_words: int | None = None
    ) -> TextFeatures:
        """Embed sentences.

        Args:
            words: keep the embeddings of the tokens, special ones included.
            num_words: cut and pad every text to so many tokens; default: cut to the context, pad as the weights need.

        Raises:
            InputError: something in ``texts`` is not a string, or ``num_words`` does not fit the weights.
        """
        if num_words is not None:
            least, most = self.padded_length or MARKS + 1, self.padded_length or self.context_length
            if not least <= num_words <= most:
                lengths = f"{most}, the length" if least == most else f"{least} to {most}, the lengths"
                raise InputError(f"num_words={num_words}: expected {lengths} that the text tower takes")
        rows = self._token_rows(texts, context=num_words)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        parts: list[TextFeatures] = []
        for start in range(0, max(len(rows), 1), TEXT_BATCH):
            ids, mask = self._pad([rows[i] for i in order[start : start + TEXT_BATCH]], length=num_words)
            parts.append(self.encode_tokens(ids, mask, words=words))
        restore = torch.argsort(torch.tensor(order, dtype=torch.long))
        return TextFeatures.cat(parts)[restore]

    def encode_tokens(
        self, ids: Int[Tensor, "text word"], mask: Bool[Tensor, "text word"], *, words: bool = False
    ) -> TextFeatures:
        """Embed rows of token ids, for inference."""
        ids, mask = ids.to(self.device), mask.to(self.device)
        if not len(ids):
            word = torch.zeros(0, ids.shape[1], self.dim, device=self.device)
            empty = torch.zeros(0, self.dim, device=self.device)
            return (
                TextFeatures(sentence=empty, word=word, word_mask=mask)
                if words
                else TextFeatures(sentence=empty)
            )
        if self.openvino and (found := self.openvino.text(self, ids, mask, words=words)):
            sentence, word = found
        else:
            with self._inference():
                sentence, word = (
                    self.forward_words(ids, mask) if words else (self.forward_text(ids, mask), None)
                )
        if word is None:
            return TextFeatures(sentence=sentence.float())
        return TextFeatures(sentence=sentence.float(), word=word.float(), word_mask=mask)

    def encode_pixels(
        self, pixels: Float[Tensor, "frame channel y x"], *, patches: bool = False
    ) -> Float[Tensor, "frame dim"] | tuple[Float[Tensor, "frame dim"], Float[Tensor, "frame patch width"]]:
        """Embed preprocessed frames, for inference; ``patches`` adds the tower's final tokens.

        Raises:
            ShapeError: ``pixels`` are not of the sizes that the tower takes, whatever computes it.
        """
        self._check_pixels(pixels)
        pixels = pixels.to(self.device, non_blocking=True)
        if self.openvino and (found := self.openvino.vision(self, pixels, patches=patches)):
            frame, patch = found
        else:
            with self._inference():
                frame, patch = (
                    self.forward_patches(pixels) if patches else (self.forward_pixels(pixels), None)
                )
        return frame.float() if patch is None else (frame.float(), patch.float())

    def encode_video(
        self, videos: Sequence[Pictures], *, patches: bool = False, batch_size: int = 64
    ) -> VideoFeatures:
        """Embed the frames of videos of any lengths, ``batch_size`` at a time across videos.

        Args:
            videos: objects with ``pixels`` ``[frame, H, W, 3]`` uint8; sizes may differ.
            patches: keep patch tokens (needs one number of patches for all videos).

        Returns:
            features padded to the longest video.

        Raises:
            InputError: ``batch_size`` is not positive.
            ShapeError: the pixels are no pictures, or patch tokens differ in number.
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}: expected a positive number")
        encoded = list(self._encode_frames(videos, batch_size, patches=patches))
        lengths = [len(video.pixels) for video in videos]
        frame = torch.cat([frame for frame, _ in encoded] or [torch.zeros(0, self.dim, device=self.device)])
        patch = None
        if patches:
            tokens = [patch for _, patch in encoded if patch is not None]
            if len({x.shape[1] for x in tokens}) > 1:
                found = sorted({x.shape[1] for x in tokens})
                raise ShapeError("patch tokens of the videos", expected="one number a frame", got=found)
            patch = _split_and_pad(torch.cat(tokens or [torch.zeros(0, 0, 0, device=self.device)]), lengths)
        mask = torch.arange(max(lengths, default=0)) < torch.tensor(lengths, dtype=torch.long)[:, None]
        return VideoFeatures(
            frame=_split_and_pad(frame, lengths), frame_mask=mask.to(self.device), patch=patch
        )

    def fingerprint(self) -> str:
        """Hash of what decides a feature's value: weights, preprocessing and text handling.

        Device, precision and batch size are not part of it: they change rounding only.
        """
        parameters = {
            name: x
            for name, x in self.model.state_dict(keep_vars=True).items()
            if not name.startswith("logit_")  # the scale and bias belong to the loss
        }
        state = tuple((x.data_ptr(), x._version) for x in parameters.values())
        if self._hashed is None or self._hashed[0] != state:
            self._hashed = (state, hash_state(parameters))
        settings = {
            "encoder": self.name,
            "preprocessing": self.preprocessing.to_mapping(),
            "resizer": self.preprocessing.resizer,
            "context_length": self.context_length,
        }
        text = json.dumps(settings, sort_keys=True) + self._hashed[1]
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def save(self, directory: str | Path, *, dtype: str | torch.dtype = "fp32") -> None:
        """Write a Hugging Face directory: config, weights (as ``dtype``), preprocessor, tokenizer."""
        directory = Path(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            config: Any = self.model.config
            config.architectures = [type(self.model).__name__]
            config.save_pretrained(directory)
            preprocessor = json.dumps(self.preprocessing.to_mapping(), indent=2) + "\n"
            (directory / "preprocessor_config.json").write_text(preprocessor, encoding="utf-8")
            self.tokenizer.save_pretrained(directory)
        except OSError as error:
            raise InputError(f"cannot write {str(directory)!r}: {error.strerror or error}") from None
        write_state(self.model.state_dict(), directory / "model.safetensors", dtype=torch_dtype(dtype))

    def __repr__(self) -> str:
        resizer = self.preprocessing.resizer
        return f"<{type(self).__name__} {self.dim}-d on {self.device}, {self.arithmetic}, {resizer} resize>"

    def _token_rows(self, texts: Sequence[str], *, context: int | None = None) -> list[list[int]]:
        if isinstance(texts, str):
            raise InputError(f"texts: expected a list of strings, got the string {texts!r}")
        for text in texts:
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InputError(f"texts: expected strings, got {text!r}")
        cleaned = [self.clean(text) for text in texts]
        return ragged_ids(self.tokenizer, cleaned, context=context or self.context_length)

    def _check_pixels(self, pixels: Tensor) -> None:
        """Here, because torch, transformers and OpenVINO each say it in words of their own."""
        config: Any = self.model.config
        channels = RGB * (1 + 2 * self.neighbours)
        edge: int | None = getattr(config.vision_config, "image_size", None)
        if edge is not None:
            fits, sides = tuple(pixels.shape[2:]) == (edge, edge), f"{edge}, {edge}"
        else:
            step = self.preprocessing.patch_size
            fits, sides = not any(side % step for side in pixels.shape[2:]), f"multiples of {step}"
        if pixels.ndim != 4 or pixels.shape[1] != channels or not fits:
            raise ShapeError(
                f"pixels for the vision tower of {self.name!r}",
                expected=f"[frame, {channels}, {sides}], as preprocess() makes them",
                got=list(pixels.shape),
            )

    def _pad(self, rows: Sequence[Sequence[int]], *, length: int | None = None) -> tuple[Tensor, Tensor]:
        return padded_ids(rows, pad_id=self.pad_id, length=length or self.padded_length)

    def _encode_frames(
        self, videos: Sequence[Pictures], batch_size: int, *, patches: bool
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Embeddings of all frames in order, and their patch tokens where asked for, a batch at a time."""
        for batch in on_device(self._batches(videos, batch_size), self.device):
            encoded = self.encode_pixels(batch, patches=patches)
            yield encoded if isinstance(encoded, tuple) else (encoded, None)

    def _batches(self, videos: Iterable[Pictures], batch_size: int) -> Iterator[Tensor]:
        """Preprocessed frames in order, ``batch_size`` together; a batch ends where their size changes."""
        waiting: list[Tensor] = []
        for video in videos:
            for start in range(0, len(video.pixels), batch_size):
                first = max(0, start - self.neighbours)
                piece = self.preprocess(video.pixels[first : start + batch_size + self.neighbours])
                piece = piece[start - first :][:batch_size]
                if waiting and waiting[0].shape[1:] != piece.shape[1:]:
                    yield torch.cat(waiting)
                    waiting = []
                waiting.append(piece)
                if sum(map(len, waiting)) >= batch_size:
                    joined = torch.cat(waiting)
                    yield joined[:batch_size]
                    waiting = [joined[batch_size:]] if len(joined) > batch_size else []
        if waiting:
            yield torch.cat(waiting)

    @contextmanager
    def _inference(self) -> Generator[None]:
        training = self.training
        self.eval()
        reduced = self.dtype != torch.float32
        try:
            # no_grad, not inference_mode: a head is trained on these features, and autograd refuses the others
            with torch.no_grad(), torch.autocast(self.device.type, dtype=self.dtype, enabled=reduced):
                yield
        finally:
            self.train(training)


def _split_and_pad(
    rows: Float[Tensor, "row ..."], lengths: Sequence[int]
) -> Float[Tensor, "video frame ..."]:
    """Consecutive rows as one padded block a video."""
    padded = rows.new_zeros(len(lengths), max(lengths, default=0), *rows.shape[1:])
    for i, part in enumerate(rows.split(list(lengths)) if lengths else ()):
        padded[i, : len(part)] = part
    return padded
