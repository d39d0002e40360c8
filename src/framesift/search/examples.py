"""Terms into features: words through the text tower, pictures and clips through the image tower, moments as stored.

A picture's one row of :class:`.TextFeatures` holds its pooled embedding as the sentence, by which candidates are
proposed, and the embeddings of its frames as the words, by which :func:`.terms.score_term` compares them.

Files are the user's and may be hostile: a picture is refused by its size before it is decoded, a clip is decoded in a
process of its own with limits of time and memory.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import DecodeError, InputError
from ..features import TextFeatures, VideoFeatures, masked_mean
from ..index.gallery import LanceGallery
from ..model import RetrievalModel
from ..video import Frames, Uniform, load_videos
from .query import ClipTerm, ImageTerm, MomentTerm, Term, TextTerm

__all__ = ["MOST_PIXELS", "encode_term", "read_clip", "read_picture"]

MOST_PIXELS = 64_000_000  # of a picture: 192 MB as RGB; phones have 50 million at most that are not binned
MOST_FRAMES = 64  # of a term: a merged result can be of hundreds, which say no more
CLIP_TIMEOUT_S = 60.0
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # what no other programme has to read


@dataclass(frozen=True, kw_only=True)
class _Within:
    """``num_frames`` uniform times of a stretch of a video; ``end_s`` None: to its end."""

    num_frames: int
    start_s: float
    end_s: float | None

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Of a video from ``start_s`` to ``end_s``; its beginning where the stretch lies behind its end."""
        last = end_s if self.end_s is None else min(self.end_s, end_s)
        if last <= self.start_s:
            return np.array([start_s])  # a decoder wants one at least; read_clip refuses it
        return Uniform(num_frames=self.num_frames).times(self.start_s, last)


@torch.inference_mode()
def encode_term(model: RetrievalModel, gallery: LanceGallery, term: Term) -> TextFeatures:
    """Features of a term, one row.

    Args:
        gallery: where an indexed moment is looked up.

    Raises:
        InputError: there are no words, a file cannot be read as a picture or is too large, a stretch is empty, or the
            index does not hold the moment.
        DecodeError: a clip cannot be decoded.
    """
    if isinstance(term, TextTerm):
        if not term.text.strip():
            raise InputError("a term has no words; say what to look for, such as 'a dog runs on grass'")
        return model.encode_text([term.text.strip()])
    if isinstance(term, ImageTerm):
        pixels = read_picture(term.path)[None]
        still = Frames(pixels=pixels, times_s=np.zeros(1), path=str(term.path))
        return _as_text(model.encode_video([still]), model)
    if isinstance(term, ClipTerm):
        return _as_text(model.encode_video([read_clip(model, term)]), model)
    return _as_text(_stored(gallery, term), model)


def read_picture(path: Path, *, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """A picture file, upright, uint8 ``[height, width, 3]``; of an animation the first frame.

    Raises:
        InputError: it cannot be read, or has more than ``most_pixels`` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is our own, below
            picture = Image.open(path, formats=FORMATS)
        with picture:
            width, height = picture.size
            if width * height > most_pixels:
                raise InputError(
                    f"the picture {str(path)!r} has {width} x {height} pixels, more than the {most_pixels:,} that are "
                    "read; make it smaller"
                )
            upright = ImageOps.exif_transpose(picture)
            return np.array(upright.convert("RGB"))  # a copy: torch wants it writable
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise InputError(f"{str(path)!r} is no picture that can be read; expected one of {known}") from None
    except Image.DecompressionBombError:
        raise InputError(f"the picture {str(path)!r} has too many pixels; make it smaller") from None
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read the picture {str(path)!r}: {error.strerror or error}") from None
    except (
        ValueError,
        SyntaxError,
        EOFError,
        MemoryError,
        OverflowError,
        Image.DecompressionBombWarning,
    ) as error:
        raise InputError(f"the picture {str(path)!r} is damaged: {error}") from None


def read_clip(model: RetrievalModel, term: ClipTerm) -> Frames:
    """Frames of a clip as the model wants them, decoded in a process of its own.

    Raises:
        DecodeError: it cannot be decoded.
        InputError: it shows nothing in that stretch.
    """
    sampler = _Within(num_frames=model.num_frames, start_s=term.start_s, end_s=term.end_s)
    (frames,) = load_videos([term.path], sampler, workers=1, timeout_s=CLIP_TIMEOUT_S)
    if isinstance(frames, DecodeError):
        raise frames
    if frames.end_s <= term.start_s:
        end = "its end" if term.end_s is None else f"{term.end_s:g} s"
        raise InputError(f"the clip {str(term.path)!r} has nothing from {term.start_s:g} s to {end}")
    return frames


def _stored(gallery: LanceGallery, term: MomentTerm) -> VideoFeatures:
    """The frames of a moment, which may be several rows of the index or a part of one, as one row."""
    moment = term.moment
    places = [(row, gallery.moment(row)) for row in gallery.rows_of(os.path.abspath(moment.video))]
    rows = [row for row, own in places if own.start_s < moment.end_s and moment.start_s < own.end_s]
    if not rows:
        raise InputError(
            f"the index holds nothing of {moment.video!r} from {moment.start_s:g} s to {moment.end_s:g} s; give a "
            "moment of a result, or the file as a clip"
        )
    rows.sort(key=lambda row: gallery.moment(row).start_s)
    stored, times = gallery.features_and_times(torch.tensor(rows, dtype=torch.long))
    frame = stored.frame[stored.frame_mask]
    seconds = torch.tensor([time for own in times for time in own], dtype=torch.float64)
    inside = (seconds >= moment.start_s) & (seconds < moment.end_s)
    if bool(inside.any()):  # a stretch between two frames is as the frames around it
        frame = frame[inside.repeat_interleave(len(frame) // len(seconds))]
    return VideoFeatures(frame=frame[None], frame_mask=torch.ones(1, len(frame), dtype=torch.bool))


def _as_text(video: VideoFeatures, model: RetrievalModel) -> TextFeatures:
    frame, mask = video.frame.to(model.device), video.frame_mask.to(model.device)
    if frame.shape[1] > MOST_FRAMES:
        kept = torch.linspace(0, frame.shape[1] - 1, MOST_FRAMES).round().long()
        frame, mask = frame[:, kept], mask[:, kept]
    return TextFeatures(sentence=masked_mean(frame, mask), word=frame, word_mask=mask)
