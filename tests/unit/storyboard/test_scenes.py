import pytest

from framesift.errors import InputError
from framesift.storyboard import SPLITS, content_hash, draw_storyboard, storyboards
from framesift.storyboard.scenes import BACKGROUNDS, COLORS, EVENTS, FPS, MOTIONS, SHAPES, event_poses


def test_a_seed_always_gives_the_same_video() -> None:
    assert draw_storyboard(7) == draw_storyboard(7)
    assert draw_storyboard(7) != draw_storyboard(8)


def test_content_is_pinned() -> None:
    # A change of any rule of the benchmark must come with another VERSION, and then with another value here.
    assert content_hash(storyboards("test", 100)) == "6c47667ac6fc3c0f"


def test_splits_do_not_overlap() -> None:
    ranges = list(SPLITS.values())
    for i, one in enumerate(ranges):
        for other in ranges[i + 1 :]:
            assert one.stop <= other.start or other.stop <= one.start


@pytest.mark.parametrize(
    ("split", "count", "start"), [("testing", 1, 0), ("test", 1_000_001, 0), ("test", 1, -1), ("test", -1, 0)]
)
def test_impossible_splits_are_refused(split: str, count: int, start: int) -> None:
    with pytest.raises(InputError, match="split"):
        storyboards(split, count, start=start)


def test_scenes_keep_the_rules() -> None:
    videos = [draw_storyboard(seed) for seed in range(400)]
    scenes = [scene for video in videos for scene in video.scenes]
    assert {len(video.scenes) for video in videos} == {1, 2, 3, 4}
    assert {scene.event for scene in scenes} == {None, *EVENTS}
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert {thing.shape for scene in scenes for thing in scene.objects} == set(SHAPES)
    assert {thing.color for scene in scenes for thing in scene.objects} == set(COLORS)
    assert {thing.motion for scene in scenes for thing in scene.objects} == set(MOTIONS)
    for scene in scenes:
        assert 1.0 <= scene.duration_s <= 4.0
        assert 1 <= len(scene.objects) <= 3
        things = [(thing.shape, thing.color) for thing in scene.objects]
        assert len(set(things)) == len(things), "two objects of a scene can be told apart"
        for thing in scene.objects:
            assert thing.color not in BACKGROUNDS[scene.background]


def test_objects_stay_in_the_picture() -> None:
    for seed in range(300):
        for scene in draw_storyboard(seed).scenes:
            for frame in range(scene.num_frames):
                progress = frame / max(1, scene.num_frames - 1)
                if scene.event:
                    poses = event_poses(scene, progress)
                else:
                    poses = tuple(thing.pose(progress, frame / FPS) for thing in scene.objects)
                for pose in poses:
                    assert -0.1 <= pose.x <= 1.1, (seed, scene)
                    assert -0.1 <= pose.y <= 1.1, (seed, scene)


def test_motions_go_where_they_say() -> None:
    seen: set[str] = set()
    for seed in range(400):
        for scene in draw_storyboard(seed).scenes:
            if scene.event:
                continue
            for thing in scene.objects:
                first, last = thing.pose(0.0, 0.0), thing.pose(1.0, scene.duration_s)
                seen.add(thing.motion)
                dx, dy = last.x - first.x, last.y - first.y
                if thing.motion in ("left", "right"):
                    assert dx * (1 if thing.motion == "right" else -1) > 0.5
                    assert dy == 0
                elif thing.motion in ("up", "down", "falls"):
                    assert dy * (-1 if thing.motion == "up" else 1) > 0.5
                    assert dx == 0
                elif thing.motion in ("grows", "shrinks"):
                    assert (last.scale > first.scale) == (thing.motion == "grows")
                elif thing.motion == "still":
                    assert first == last
    assert seen == set(MOTIONS)


def test_locate_and_span_agree() -> None:
    video = draw_storyboard(3, num_scenes=3)
    for frame in range(video.num_frames):
        scene, inside = video.locate(frame)
        start, end = video.span_s(scene)
        assert start <= frame / FPS < end
        assert round((frame / FPS - start) * FPS) == inside
    with pytest.raises(IndexError):
        video.locate(video.num_frames)
