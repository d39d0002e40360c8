"""Every way of decoding some frames equals decoding all of them one after another, bit for bit."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clip_maker import make_clip, pictures, x264, x265
from framesift.errors import DecodeError, EmptyVideoError, InputError
from framesift.video import (
    Rate,
    Sampler,
    Uniform,
    container,
    count_frames,
    decode,
    decode_all,
    decode_indices,
    decoders,
    gops,
    iter_decode,
    probe,
)

UNEVEN = np.cumsum(np.random.default_rng(1).integers(5, 400, 60)).tolist()
MS = Fraction(1, 1000)
VPX = {"cpu-used": "8", "deadline": "realtime", "g": "15"}

SEEKABLE: dict[str, dict[str, object]] = {
    "gop12.mp4": {"options": x264(gop=12)},
    "gop250.mp4": {"options": x264(gop=250), "frames": 300},
    "open.mp4": {"options": x264(gop=12, open_gop=True)},
    "open.mkv": {"options": x264(gop=12, open_gop=True)},
    "open.ts": {"options": x264(gop=12, open_gop=True)},
    "gop12.mkv": {"options": x264(gop=12)},
    "uneven.mp4": {"options": x264(gop=12), "times": UNEVEN, "time_base": MS},
    "uneven.mkv": {"options": x264(gop=12), "times": UNEVEN, "time_base": MS},
    "late.mkv": {"options": x264(gop=12), "times": list(range(250, 310))},
    "late.ts": {"options": x264(gop=12), "times": list(range(250, 310))},
    "late.mp4": {"options": x264(gop=12), "times": list(range(250, 310))},
    "negative.mp4": {"options": x264(gop=12), "times": list(range(-20, 40))},
    "hevc.mp4": {"codec": "libx265", "options": x265(gop=12)},
    "hevc_open.mp4": {"codec": "libx265", "options": x265(gop=12, open_gop=True)},
    "hevc_open.mkv": {"codec": "libx265", "options": x265(gop=12, open_gop=True)},
    "vp8.webm": {"codec": "libvpx", "options": VPX},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VPX},
    "vp9_hidden.mp4": {
        "codec": "libvpx-vp9",
        "options": VPX | {"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "12"},
    },
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "g": "15", "svtav1-params": "lp=1"}},
    "mpeg4.mp4": {"codec": "mpeg4", "gop": 12, "b_frames": 2},
    "mpeg2.ts": {"codec": "mpeg2video", "gop": 12, "b_frames": 2},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "one.mp4": {"frames": 1},
    "two.mp4": {"frames": 2},
}
SEQUENTIAL: dict[str, dict[str, object]] = {
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=20:bframes=0:threads=1"}},
    "intra_refresh.ts": {"options": {"x264-params": "intra-refresh=1:keyint=20:bframes=0:threads=1"}},
    "h264.avi": {"options": x264(gop=12)},
    "h264.flv": {"options": x264(gop=12)},
    "raw.h264": {"options": x264(gop=12)},
    "mpeg4.avi": {"codec": "mpeg4", "gop": 12, "b_frames": 2},
    "mpeg2.mpg": {"codec": "mpeg2video", "gop": 12, "b_frames": 2},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8", "frames": 20},
}
SAMPLERS = [Uniform(), Uniform(num_frames=1), Uniform(num_frames=500), Rate(fps=7.0), Rate(fps=0.3)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            make_clip(path, **(SEEKABLE | SEQUENTIAL)[name])  # type: ignore[arg-type]
        return path

    return get


def on_display(times_s: np.ndarray, wanted_s: np.ndarray) -> list[int]:
    """The definition: the last frame that starts at or before each time, every frame once."""
    rows = [max([i for i, start in enumerate(times_s) if start <= t + 1e-7], default=0) for t in wanted_s]
    return sorted(set(rows))


def assert_equals_sequential(path: Path, samplers: list[Sampler]) -> None:
    everything = list(decode_all(path))
    times_s = np.array([time_s for time_s, _ in everything])
    assert times_s[0] == 0.0
    for sampler in samplers:
        frames = decode(path, sampler)
        assert frames.info is not None
        assert frames.info.duration_s is not None
        assert frames.info.duration_s >= times_s[-1]
        rows = on_display(times_s, sampler.times(0.0, frames.info.duration_s))
        np.testing.assert_allclose(frames.times_s, times_s[rows], atol=1e-9)
        for pixels, row in zip(frames.pixels, rows, strict=True):
            np.testing.assert_array_equal(pixels, everything[row][1])


@pytest.mark.parametrize("name", [*SEEKABLE, *SEQUENTIAL])
def test_equals_sequential_decoding(clip: Callable[[str], Path], name: str) -> None:
    assert_equals_sequential(clip(name), SAMPLERS)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_frames_that_do_not_fit_in_memory_are_decoded_again(
    clip: Callable[[str], Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("framesift.video.decode"), "_KEPT_BYTES", 0)
    assert_equals_sequential(clip(name), [Uniform()])


@pytest.mark.parametrize("name", SEEKABLE)
def test_healthy_files_are_not_decoded_from_end_to_end(
    clip: Callable[[str], Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(name)
    if name == "av1.mp4" and count_frames(path) != len(list(decode_all(path))):
        pytest.skip("the encoder wrote a damaged stream, as it does now and then")

    def forbidden(self: container.VideoFile) -> None:
        raise AssertionError("decoded sequentially")

    monkeypatch.setattr(container.VideoFile, "frames", forbidden)
    assert len(decode(path, Uniform(num_frames=3))) > 0


@pytest.mark.parametrize("name", SEEKABLE)
def test_healthy_files_are_read_in_the_quickest_way(
    clip: Callable[[str], Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(name)
    if name == "av1.mp4" and count_frames(path) != len(list(decode_all(path))):
        pytest.skip("the encoder wrote a damaged stream, as it does now and then")
    module = importlib.import_module("framesift.video.decode")  # the package has a function of this name
    monkeypatch.setattr(module, "_WAYS", module._WAYS[:1])
    assert len(decode(path, Uniform())) > 0


@pytest.mark.parametrize("name", ["gop250.mp4", "open.mkv", "hevc.mp4", "late.ts", "h264.avi"])
def test_any_frame_numbers(clip: Callable[[str], Path], name: str) -> None:
    path = clip(name)
    everything = list(decode_all(path))
    assert count_frames(path) == len(everything)
    indices = [7, 7, 0, len(everything) - 1, 8, 9, 31, 30, 3]
    frames = decode_indices(path, indices)
    for i, index in enumerate(indices):
        assert frames.times_s[i] == pytest.approx(everything[index][0])
        np.testing.assert_array_equal(frames.pixels[i], everything[index][1])
    for outside in (-1, len(everything)):
        with pytest.raises(InputError, match=f"frame {outside} does not exist"):
            decode_indices(path, [0, outside])


@pytest.mark.parametrize("name", ["gop12.mp4", "gop250.mp4", "mpeg4.avi"])
def test_pieces_make_the_whole(clip: Callable[[str], Path], name: str) -> None:
    path, sampler = clip(name), Rate(fps=11.0)
    whole = decode(path, sampler)
    pieces = list(iter_decode(path, sampler, chunk_frames=5))
    assert [len(piece) for piece in pieces[:-1]] == [5] * (len(pieces) - 1)
    np.testing.assert_array_equal(np.concatenate([piece.pixels for piece in pieces]), whole.pixels)
    np.testing.assert_array_equal(np.concatenate([piece.times_s for piece in pieces]), whole.times_s)
    assert pieces[-1].info == whole.info


@pytest.mark.parametrize("name", ["h264.avi", "mpeg4.avi", "raw.h264", "gop12.mp4", "mpeg2.mpg"])
def test_frames_are_evenly_spaced_even_where_the_container_has_no_clock(
    clip: Callable[[str], Path], name: str
) -> None:
    times_s = [time_s for time_s, _ in decode_all(clip(name))]
    np.testing.assert_allclose(times_s, np.arange(60) / 25, atol=1e-9)


def test_part_of_a_video(clip: Callable[[str], Path]) -> None:
    frames = decode(clip("gop12.mp4"), Uniform(num_frames=4), start_s=1.0, end_s=1.8)
    np.testing.assert_allclose(frames.times_s, [1.08, 1.28, 1.48, 1.68])
    beyond = decode(clip("gop12.mp4"), Uniform(num_frames=4), start_s=50.0)
    np.testing.assert_allclose(beyond.times_s, [2.36])  # the last frame
    with pytest.raises(InputError, match="start_s"):
        decode(clip("gop12.mp4"), Uniform(), start_s=2.0, end_s=1.0)


def test_fragments_that_do_not_say_how_far_pictures_are_reordered(
    clip: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fragments.mp4"
    with (
        av.open(str(clip("gop12.mp4"))) as whole,
        av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as parts,
    ):
        stream = parts.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = stream
                parts.mux(packet)
    data = bytearray(path.read_bytes())
    sps = data.index(b"avcC") + 12
    data[sps + 14] ^= 0x80  # VUI parameters, which hold the depth of reordering, are said to be absent
    path.write_bytes(data)
    module = importlib.import_module("framesift.video.decode")
    monkeypatch.setattr(module, "_WAYS", module._WAYS[:1])
    assert_equals_sequential(path, [Uniform(num_frames=500)])
    assert count_frames(path) == 60


def test_pixels_are_the_pictures_that_were_encoded(tmp_path: Path) -> None:
    images = pictures(20)
    path = make_clip(tmp_path / "a.mp4", images, options={"crf": "1"}, pix_fmt="yuv444p")
    frames = decode_indices(path, range(20))
    assert np.abs(frames.pixels.astype(int) - np.stack(images)).mean() < 3


def test_transform_sees_each_upright_frame(clip: Callable[[str], Path]) -> None:
    frames = decode(clip("gop12.mp4"), Uniform(), transform=lambda pixels: pixels[::2, ::2])
    np.testing.assert_array_equal(frames.pixels, decode(clip("gop12.mp4"), Uniform()).pixels[:, ::2, ::2])
    assert frames.info is not None
    assert (frames.info.width, frames.info.height) == (96, 64)


def test_the_usual_codecs_are_there() -> None:
    found = decoders()
    assert found["h264"]
    assert found["gif"]
    assert all(isinstance(present, bool) for present in found.values())


def test_probe_measures(clip: Callable[[str], Path]) -> None:
    info = probe(clip("late.mkv"))
    assert info.duration_s == pytest.approx(60 / 25)
    assert (info.codec, info.width, info.height, info.rotation, info.num_streams) == ("h264", 96, 64, 0, 1)
    assert info.size_bytes == clip("late.mkv").stat().st_size
    assert probe(clip("raw.h264")).duration_s == pytest.approx(60 / 25)


ONE = 1 << 16
TKHD_MATRIX = 44  # bytes from a track header's name to its matrix (ISO/IEC 14496-12, 8.3.2, version 0)
TURNS: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "upright": ((1, 0, 0, 1), lambda p: p),
    "quarter_clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "half": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "quarter_counterclockwise": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside_down_mirrored": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_display_matrix_is_applied(tmp_path: Path, turn: str) -> None:
    (a, b, c, d), expected = TURNS[turn]
    matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    source = make_clip(tmp_path / "plain.mp4", 5)
    plain = decode(source, Uniform(num_frames=3))
    content = source.read_bytes()  # encoding again would not always give the same pictures
    place = content.index(b"tkhd") + TKHD_MATRIX
    written = np.array(matrix, dtype=">i4").tobytes()
    path = tmp_path / "turned.mp4"
    path.write_bytes(content[:place] + written + content[place + len(written) :])
    turned = decode(path, Uniform(num_frames=3))
    assert len(turned) == 3
    for before, after in zip(plain.pixels, turned.pixels, strict=True):
        np.testing.assert_array_equal(after, expected(before))
    assert turned.info is not None
    assert (turned.info.height, turned.info.width) == turned.pixels.shape[1:3]


def test_the_largest_of_several_streams(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = []
        for size in (32, 64, 48):
            stream = output.add_stream("libx264", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for tick in range(10):
            for stream in streams:
                image = np.full((stream.height, stream.width, 3), tick * 20, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = tick
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode())
    frames = decode(path, Uniform(num_frames=5))
    assert frames.pixels.shape == (5, 64, 64, 3)
    assert frames.info is not None
    assert frames.info.num_streams == 3


def test_a_truncated_file_gives_the_frames_it_has(clip: Callable[[str], Path], tmp_path: Path) -> None:
    data = clip("gop12.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) // 2])
    frames = decode(path, Uniform(num_frames=5))
    assert len(frames) == 5
    assert frames.info is not None
    assert 0.5 < (frames.info.duration_s or 0) < 2.0  # measured; the header still says 2.4
    assert_equals_sequential(path, [Uniform(num_frames=5)])


def test_a_seek_that_cannot_be_trusted_is_redone(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("gop12.mp4")
    expected = decode(path, Uniform())
    honest = gops._Feed.run
    calls = 0

    def lossy(self: gops._Feed, *args: object, **kwargs: object):
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise gops.SeekError("lost")
        yield from honest(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(gops._Feed, "run", lossy)
    np.testing.assert_array_equal(decode(path, Uniform()).pixels, expected.pixels)
    pieces = list(iter_decode(path, Uniform(), chunk_frames=1))
    np.testing.assert_array_equal(np.concatenate([piece.pixels for piece in pieces]), expected.pixels)


ODD_NAMES: list[str | bytes] = [
    "-y.mp4",
    "quote' semi;$(touch x).mp4",
    "клип 视频 (1) 🐕 & co.mp4",
    "new\nline.mp4",
    "trailing space ",
    "http:example.mp4",
    "100%d.mp4",
    b"not utf-8 \xff\xfe.mp4",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_names_are_data(
    clip: Callable[[str], Path], tmp_path: Path, name: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = name if isinstance(name, str) else name.decode(errors="surrogateescape")
    shutil.copy(clip("gop12.mp4"), odd)
    frames = decode(odd, Uniform(num_frames=3))
    assert len(frames) == 3
    assert frames.path == odd
    assert [entry.name for entry in tmp_path.iterdir()] == [odd]


def _no_file(folder: Path) -> Path:
    return folder / "missing.mp4"


def _folder(folder: Path) -> Path:
    (folder / "x.mp4").mkdir()
    return folder / "x.mp4"


def _pipe(folder: Path) -> Path:
    import os

    os.mkfifo(folder / "x.mp4")
    return folder / "x.mp4"


def _loop(folder: Path) -> Path:
    (folder / "x.mp4").symlink_to(folder / "x.mp4")
    return folder / "x.mp4"


def _text(folder: Path) -> Path:
    (folder / "x.mp4").write_text("version https://git-lfs.github.com/spec/v1\n")
    return folder / "x.mp4"


def _nothing(folder: Path) -> Path:
    (folder / "x.mp4").touch()
    return folder / "x.mp4"


def _playlist(folder: Path) -> Path:
    make_clip(folder / "real.mp4", 3)
    (folder / "x.mp4").write_text("ffconcat version 1.0\nfile real.mp4\n")
    return folder / "x.mp4"


def _hls(folder: Path) -> Path:
    make_clip(folder / "real.ts", 3)
    (folder / "x.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.ts\n#EXT-X-ENDLIST\n")
    return folder / "x.m3u8"


def _sound(folder: Path) -> Path:
    with av.open(str(folder / "x.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.rate, frame.pts = 16000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return folder / "x.mp4"


def _huge(folder: Path) -> Path:
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    path = make_clip(folder / "x.gif", [image] * 3, codec="gif", pix_fmt="rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"  # the canvas, width and height
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_no_file, "No such file"),
        (_folder, "is a directory"),
        (_pipe, "not a regular file"),
        (_loop, "symbolic links"),
        (_text, "Git LFS pointer"),
        (_nothing, "is empty"),
        (_playlist, "concat script, which is not followed"),
        (_hls, "playlist, which is not followed"),
        (_sound, "no video stream"),
        (_huge, "no frame can be decoded|too large"),
    ],
)
def test_what_is_no_video_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    path = make(tmp_path)
    for call in (lambda: decode(path, Uniform()), lambda: probe(path), lambda: list(decode_all(path))):
        with pytest.raises(DecodeError, match=reason) as raised:
            call()
        assert str(raised.value.path) == str(path)


def test_a_video_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "x.avi"
    make_clip(path, 3, codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    for call in (lambda: decode(path, Uniform()), lambda: list(decode_all(path)), lambda: count_frames(path)):
        with pytest.raises(EmptyVideoError):
            call()


def test_too_large_frames_are_refused_before_decoding(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(DecodeError, match="96x64 are too large"):
        decode(clip("gop12.mp4"), Uniform())


def test_a_change_of_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "a.ts", pictures(20), options=x264(gop=10))
    second = make_clip(
        tmp_path / "b.ts", pictures(20, width=48, height=32), options=x264(gop=10), times=list(range(20, 40))
    )
    path = tmp_path / "glued.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    sizes = {pixels.shape for _, pixels in decode_all(path)}
    assert sizes == {(64, 96, 3), (32, 48, 3)}
    assert decode(path, Uniform(num_frames=8)).pixels.shape == (8, 64, 96, 3)


def test_frames_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", 40, options=x264(gop=12))
    path.write_bytes(path.read_bytes().replace(b"ctts", b"xtts"))  # presentation times are lost
    times = decode(path, Uniform()).times_s
    assert (np.diff(times) > 0).all()


def test_size_is_that_of_the_picture_whatever_the_matrix_says(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "a.mp4", 3).read_bytes()
    place = content.index(b"tkhd") + TKHD_MATRIX
    for name, numbers in {
        "zero": [0] * 9,
        "slant": [46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30],
    }.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content[:place] + np.array(numbers, dtype=">i4").tobytes() + content[place + 36 :])
        frames = decode(path, Uniform())
        assert frames.info is not None
        assert frames.pixels.shape[1:3] == (frames.info.height, frames.info.width)
        assert frames.info.rotation in (0, 90)


def test_lying_length_is_an_error_of_that_file(tmp_path: Path) -> None:
    times = [*(40 * i for i in range(11)), 10**14]
    path = make_clip(tmp_path / "lie.mkv", 12, times=times, time_base=Fraction(1, 1000))
    with pytest.raises(DecodeError, match="claims to last 1e"):
        decode(path, Rate(fps=1.0))
    assert len(decode(path, Rate(fps=1.0, max_frames=3600))) == 1
