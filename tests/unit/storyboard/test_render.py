import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from framesift.errors import InputError
from framesift.storyboard import (
    FPS,
    SIZE_PX,
    draw_storyboard,
    render_frame,
    render_frames,
    storyboards,
    write_split,
)
from framesift.storyboard.scenes import COLORS


def test_frames_are_the_same_everywhere() -> None:
    video = draw_storyboard(11, num_scenes=2)
    digest = hashlib.sha256(b"".join(frame.tobytes() for frame in render_frames(video))).hexdigest()
    assert digest[:16] == "c4346dca76c36241"


def test_one_frame_equals_the_same_frame_of_all() -> None:
    video = draw_storyboard(5, num_scenes=2)
    frames = list(render_frames(video))
    assert len(frames) == video.num_frames
    for number in (0, 7, video.num_frames - 1):
        np.testing.assert_array_equal(render_frame(video, number), frames[number])
        assert frames[number].shape == (SIZE_PX, SIZE_PX, 3)
        assert frames[number].dtype == np.uint8


def test_a_solid_object_shows_its_colour_where_it_is() -> None:
    checked = 0
    for seed in range(200):
        video = draw_storyboard(seed, num_scenes=1)
        scene = video.scenes[0]
        thing = scene.objects[0]
        if len(scene.objects) > 1 or thing.fill != "solid" or thing.shape in ("ring", "crescent"):
            continue
        pose = thing.pose(0.0, 0.0)
        if pose.visible:
            pixel = render_frame(video, 0)[int(pose.y * SIZE_PX), int(pose.x * SIZE_PX)]
            assert tuple(pixel) == COLORS[thing.color]
            checked += 1
    assert checked > 10


def test_mp4_files_hold_the_frames(tmp_path: Path) -> None:
    videos = storyboards("val", 2)
    paths = write_split(videos, tmp_path)
    for video, path in zip(videos, paths, strict=True):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert float(stream.average_rate or 0) == FPS
        assert len(decoded) == video.num_frames
        for number in (0, len(decoded) // 2, len(decoded) - 1):
            difference = np.abs(decoded[number].astype(int) - render_frame(video, number).astype(int)).mean()
            assert difference < 6, "compression, not another picture"
    truth = json.loads((tmp_path / "captions.json").read_text())
    assert set(truth["videos"]) == {path.name for path in paths}


def test_rendering_again_keeps_what_is_there(tmp_path: Path) -> None:
    videos = storyboards("val", 1)
    (path,) = write_split(videos, tmp_path)
    before = path.stat().st_mtime_ns
    write_split(videos, tmp_path)
    assert path.stat().st_mtime_ns == before
    assert not list(tmp_path.glob("*.part"))


def test_an_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_split(storyboards("val", 1), tmp_path / "file" / "sub")
