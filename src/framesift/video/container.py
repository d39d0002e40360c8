"""Opening video files that nobody vouches for.

A file is data: its name is never a URL or an option, it is opened through the ``file`` protocol only, and
only by demuxers that read one self-contained file (no playlists, scripts or session descriptions, which
could make FFmpeg follow a path or an address). Sizes are bounded before anything is allocated.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Discard, Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..errors import DecodeError
from .diagnosis import diagnose

__all__ = ["IN_ORDER_CODECS", "MATROSKA", "MAX_PIXELS", "VideoFile", "decoders", "orient", "path_text"]

MAX_PIXELS = 40_000_000  # a frame of 8K DCI video has 35 million; a forged canvas has billions

# Demuxers of self-contained files, by FFmpeg's names. Audio ones are listed so that an audio file is
# reported as having no video stream.
_FORMATS = (
    "3dostr,4xm,aac,ac3,amv,apng,asf,av1,avi,bethsoftvid,bink,cavsvideo,dhav,dirac,dnxhd,dv,dxa,evc,film_cpk,flac,flic,"
    "flv,gif,gxf,h261,h263,h264,hevc,iff,ivf,ivr,jpeg_pipe,jpegxl_anim,kux,live_flv,m4v,matroska,webm,mjpeg,"
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,mpegvideo,mpjpeg,mtv,mv,mxf,mxg,nc,nsv,nut,nuv,obu,ogg,"
    "png_pipe,pva,rm,roq,smjpeg,smk,swf,thp,tmv,ty,vc1,vc1test,vivo,vvc,wav,wc3movie,webp_pipe,wtv,xmv,yop,"
    "yuv4mpegpipe"
)
# Containers that store no presentation times. Those that FFmpeg makes up run backwards with B-frames, but
# its decoding times, attached to frames as they come out, advance evenly.
_UNTIMED_CONTAINERS = frozenset({"avi"})
# How files begin whose headers describe their streams: Matroska, and the first box of an MP4 or QuickTime file.
_EBML = b"\x1aE\xdf\xa3"
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
MATROSKA = "matroska,webm"  # FFmpeg's name for both
# Codecs that decode pictures in the order in which they are shown.
IN_ORDER_CODECS = frozenset({"vp8", "vp9", "av1", "libdav1d", "mjpeg", "prores"})
_FALLBACK_FPS = Fraction(25)  # FFmpeg's own default for streams without any clock
_NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


_COMMON_CODECS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "mjpeg", "gif")


def decoders() -> dict[str, bool]:
    """Which of the common video codecs the installed PyAV can decode."""

    def known(name: str) -> bool:
        try:
            av.Codec(name, "r")
        except (FFmpegError, ValueError):
            return False
        return True

    return {name: known(name) for name in _COMMON_CODECS}


def path_text(path: str | os.PathLike[str] | bytes) -> str:
    """A path as text; bytes that are not UTF-8 survive as surrogates (PEP 383)."""
    return os.fsdecode(path)


@contextmanager
def _as_decode_error(path: str) -> Generator[None]:
    """Whatever FFmpeg, PyAV or the file system raise becomes a DecodeError."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError:
        raise DecodeError(path, "it needs more memory than allowed") from None
    except FFmpegError as error:
        raise DecodeError(path, f"not a readable video ({error.strerror or error})") from error
    except (OSError, EOFError, ValueError, RuntimeError) as error:  # ValueError: also undecodable text
        reason = getattr(error, "strerror", None) or error  # str() of an OSError repeats number and path
        raise DecodeError(path, f"not a readable video ({reason})") from error


def _has_header(path: str) -> bool:
    with Path(path).open("rb", buffering=0) as file:
        start = file.read(8)
    return start.startswith(_EBML) or start[4:] in _FIRST_BOXES


def orient(pixels: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """``pixels [height, width, 3]`` turned and mirrored as a display matrix asks (in quarter turns).

    matrix: the nine numbers ``a b u c d v x y w`` of ISO 14496-12 (8.5.2): a pixel at (x, y) is shown at
    (a x + c y, b x + d y), y pointing down.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        mirror_x, mirror_y = a < 0, d < 0
    else:
        pixels = pixels.swapaxes(0, 1)
        mirror_x, mirror_y = c < 0, b < 0
    return pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]


class VideoFile:
    """One open video file: its chosen stream, its packets, its decoder. A context manager.

    The stream is the default one, the largest among several; cover pictures do not count.
    ``damage`` is the first read or decode error that was passed over, None where there was none.
    ``quick`` takes the stream's properties from the header, where one describes them, instead of decoding
    the first pictures to learn them: enough to decode by, not to tell how far pictures are reordered.
    Raises DecodeError when the path is no regular file, or not a video.
    """

    def __init__(self, path: str | os.PathLike[str] | bytes, *, quick: bool = False) -> None:
        self.path = path_text(path)
        self.damage: str | None = None
        self._file: Any = None
        self._container: InputContainer | None = None
        try:
            with _as_decode_error(self.path):
                self._open(quick)
        except BaseException:
            self.close()
            raise

    def _open(self, quick: bool) -> None:
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise DecodeError(self.path, f"it is {kind}")  # opening a named pipe would wait for ever
        if status.st_size == 0:
            raise DecodeError(self.path, "the file is empty")
        self.size_bytes, self.mtime = status.st_size, status.st_mtime
        try:
            source: Any = "file:" + self.path
            source.encode()
        except UnicodeEncodeError:  # FFmpeg takes names as UTF-8 only
            source = self._file = Path(self.path).open("rb")  # noqa: SIM115 (close() closes it)
        quick = quick and _has_header(self.path)
        self._open_container(source, probe=not quick)
        if quick and not self._is_plain():
            self.container.close()
            if self._file is not None:
                self._file.seek(0)
            self._open_container(source, probe=True)
        if self.codec.width * self.codec.height > MAX_PIXELS:
            raise DecodeError(self.path, f"frames of {self.codec.width}x{self.codec.height} are too large")
        self.codec.options = {"max_pixels": str(MAX_PIXELS)}
        if quick and self.codec.name == "h264":
            self.codec.options |= {"strict": "1"}  # hold pictures back as long as the standard lets them wait
        self.codec.thread_count = 1  # we are parallel over files; frame threads would also delay every frame
        self.time_base = self.stream.time_base or Fraction(1, 90_000)
        self._reformatter = VideoReformatter()

    def _open_container(self, source: Any, *, probe: bool) -> None:
        try:
            container = av.open(
                source,
                "r",
                options={"protocol_whitelist": "file", "format_whitelist": _FORMATS},
                container_options={} if probe else {"codec_whitelist": "none"},
                metadata_errors="replace",
            )
        except (FFmpegError, OSError, EOFError, ValueError) as error:
            if (what := diagnose(self.path)) is None:
                raise
            raise DecodeError(self.path, what) from error
        self.container = self._container = cast("InputContainer", container)
        self.stream = self._choose_stream()
        self.codec: VideoCodecContext = self.stream.codec_context

    def _is_plain(self) -> bool:
        """Whether the header alone will do: one stream to choose, of a size that may well be true, and decoding
        times in the file, or none needed (FFmpeg works out Matroska's from what it has decoded)."""
        timed = self.container.format.name != MATROSKA or self.codec.name in IN_ORDER_CODECS
        return timed and self.num_streams == 1 and 0 < self.codec.width * self.codec.height <= MAX_PIXELS

    def _choose_stream(self) -> VideoStream:
        streams = [s for s in self.container.streams.video if not s.disposition & _NOT_A_VIDEO]
        if not streams:
            raise DecodeError(self.path, "it has no video stream")
        self.num_streams = len(streams)
        known = [s for s in streams if cast("Any", s.codec_context) is not None]
        if not known:
            raise DecodeError(self.path, "its video codec is unknown")
        chosen = max(
            known,
            key=lambda s: (
                bool(s.disposition & Disposition.default),
                s.codec_context.width * s.codec_context.height,
            ),
        )
        for stream in self.container.streams:
            if stream is not chosen:
                stream.discard = Discard.all  # spares reading them
        return chosen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the decoder and the file."""
        if self._container is not None:
            self._container.close()
        if self._file is not None:
            self._file.close()

    @property
    def fps(self) -> float | None:
        """The average rate that the container claims."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate else None

    @property
    def frame_ticks(self) -> int:
        """One frame's length in ticks of the time base, by the claimed rate: where no timestamp tells."""
        rate = self.stream.average_rate or self.stream.guessed_rate or _FALLBACK_FPS
        return max(1, round(1 / (rate * self.time_base)))

    def packets(self) -> Iterator[Packet]:
        """Packets of the stream from where the file stands, in decoding order; a read error ends them."""
        return self.packets_of([self.stream])

    def packets_of(self, streams: Sequence[Stream]) -> Iterator[Packet]:
        """Packets of these streams, as ``packets``; others than the chosen are discarded unless told otherwise."""
        try:
            for packet in self.container.demux(*streams):
                if packet.size:  # an empty packet is PyAV's mark of the end
                    yield packet
        except (FFmpegError, OSError, EOFError, ValueError, IndexError) as error:
            # IndexError: PyAV does not expect a stream that appears while an MPEG-TS file is read
            self.damage = self.damage or f"reading stopped: {error}"

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """Frames that come out for a packet (None: all that are left). Raises FFmpegError on bad data."""
        return self.codec.decode(packet)

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        """Every frame in order of display, with its time in ticks. This is what decoding *means* here.

        Packets that cannot be decoded are passed over. A frame without a timestamp follows the one before
        at the claimed rate, and a timestamp that runs backwards is held.
        """
        tick: int | None = None
        untimed = self.container.format.name in _UNTIMED_CONTAINERS
        with _as_decode_error(self.path):
            for packet in self._and_end(self.packets()):
                try:
                    frames = self.decode(packet)
                except (FFmpegError, ValueError) as error:
                    self.damage = self.damage or f"bad data: {error}"
                    continue
                for frame in frames:
                    time = frame.dts if untimed else frame.pts
                    if time is not None:
                        tick = time if tick is None else max(tick, time)
                    else:
                        tick = 0 if tick is None else tick + self.frame_ticks
                    yield tick, frame

    @staticmethod
    def _and_end(packets: Iterator[Packet]) -> Iterator[Packet | None]:
        yield from packets
        yield None

    def rgb(self, frame: VideoFrame, *, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
        """A decoded frame as upright uint8 ``[height, width, 3]``, scaled to ``shape`` if its size differs.

        Streams may change size half-way (browser recordings do); a stack of frames cannot. The result may
        be a view of FFmpeg's memory, not always contiguous: a caller that keeps many copies them together.
        """
        if frame.width * frame.height > MAX_PIXELS:
            raise DecodeError(self.path, f"frames of {frame.width}x{frame.height} are too large")
        with _as_decode_error(self.path):
            pixels = self._upright(frame, frame.width, frame.height)
            if shape is not None and pixels.shape != shape:
                height, width = shape[:2]
                turned = pixels.shape[:2] != (frame.height, frame.width)
                pixels = self._upright(frame, *((height, width) if turned else (width, height)))
            return pixels

    def _upright(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        picture = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
        plane = picture.planes[0]
        lines = np.frombuffer(cast("Any", plane), dtype=np.uint8).reshape(-1, plane.line_size)
        pixels = lines[:height, : 3 * width].reshape(height, width, 3)
        matrix = cast("Any", frame.side_data).get(SideDataType.DISPLAYMATRIX)
        if matrix is None:
            return pixels
        turned = orient(pixels, np.frombuffer(bytes(matrix), dtype=np.int32))
        upright = np.empty(turned.shape, dtype=np.uint8)
        for channel in range(3):  # numpy takes several times as long for runs of three bytes
            upright[..., channel] = turned[..., channel]
        return upright
