from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from framesift.errors import InputError, ShapeError
from framesift.storyboard import (
    FPS,
    PAIR_KINDS,
    SPLITS,
    PairedSlice,
    Scene,
    SceneObject,
    Storyboard,
    binding_pairs,
    count_pairs,
    direction_pairs,
    holds,
    order_pairs,
    render_frame,
    small_object_pairs,
    training_pairs,
)
from framesift.storyboard.captions import Caption, ObjectClaim, SceneClaim
from framesift.storyboard.counting import CountClaim
from framesift.video import Uniform

SLICES: dict[str, PairedSlice] = {
    gallery.name: gallery
    for gallery in (direction_pairs(), order_pairs(), binding_pairs(), small_object_pairs(), count_pairs())
}


def pairs(kind: str) -> list[tuple[Storyboard, Storyboard]]:
    videos = SLICES[kind].videos
    return list(zip(videos[::2], videos[1::2], strict=True))


def look_alike(one: SceneObject, other: SceneObject) -> bool:
    return {one.shape, other.shape} == {"circle", "ring"} and "outlined" in (one.fill, other.fill)


def sampled(video: Storyboard) -> list[bytes]:
    times = Uniform(num_frames=12).times(0.0, video.duration_s)
    return [render_frame(video, int(number), size_px=64).tobytes() for number in times * FPS + 1e-6]


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_each_caption_is_true_of_one_of_its_pair_alone(kind: str) -> None:
    gallery = SLICES[kind]
    assert len(gallery.videos) == len(gallery.captions) == 500
    for number, caption in enumerate(gallery.captions):
        assert holds(caption, gallery.videos[number])
        assert not holds(caption, gallery.videos[number ^ 1])
        assert gallery.relevance[number, number]
        assert not gallery.relevance[number, number ^ 1]


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_relevance_equals_checking_every_video(kind: str) -> None:
    gallery = SLICES[kind]
    for row in range(0, 500, 41):
        expected = [holds(gallery.captions[row], video) for video in gallery.videos]
        np.testing.assert_array_equal(gallery.relevance[row], expected)


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_pairs_to_train_on_are_other_videos(kind: str) -> None:
    drawn = training_pairs(kind, 20, start=3)
    assert [pair.videos for pair in drawn] == [pair.videos for pair in training_pairs(kind, 23)[3:]]
    held_out = {video.scenes for video in SLICES[kind].videos}
    for pair in drawn:
        true = [[holds(caption, video) for video in pair.videos] for caption in pair.captions]
        assert true == [[True, False], [False, True]]
        for video in pair.videos:
            assert video.seed in SPLITS["train"]
            assert video.scenes not in held_out


def test_seeds_are_of_the_test_split_and_of_one_slice_only() -> None:
    seeds = [video.seed for gallery in SLICES.values() for video in gallery.videos]
    assert len(set(seeds)) == len(seeds)
    assert all(seed in SPLITS["test"] for seed in seeds)


@pytest.mark.parametrize("kind", ["direction", "order"])
def test_both_videos_of_a_pair_have_the_same_frames_in_another_order(kind: str) -> None:
    # Twelve uniform frames: a mean over them, or any bag of frames, is the same for both.
    for one, other in pairs(kind)[:40]:
        first, second = sampled(one), sampled(other)
        assert Counter(first) == Counter(second)
        assert first != second
        if kind == "direction":
            assert first == second[::-1]
        else:
            assert first == second[6:] + second[:6]


def test_direction_pairs_play_backwards_frame_by_frame() -> None:
    for one, other in pairs("direction")[:10]:
        last = one.num_frames - 1
        assert one.num_frames == other.num_frames
        for number in range(one.num_frames):
            np.testing.assert_array_equal(render_frame(one, number), render_frame(other, last - number))


def test_direction_pairs_go_in_every_direction() -> None:
    motions = {thing.motion for video in SLICES["direction"].videos for thing in video.scenes[0].objects}
    assert motions == {"still", "left", "right", "up", "down"}
    events = Counter(video.scenes[0].event for video in SLICES["direction"].videos)
    assert set(events) == {None, "chases"}


def test_binding_pairs_exchange_two_colours_and_nothing_else() -> None:
    for one, other in pairs("binding"):
        (first,), (second,) = one.scenes, other.scenes
        colors = [thing.color for thing in first.objects]
        assert [thing.color for thing in second.objects] == colors[::-1]
        assert len(set(colors)) == 2
        back = tuple(replace(t, color=c) for t, c in zip(second.objects, colors, strict=True))
        assert replace(second, objects=back) == first
    for caption in SLICES["binding"].captions:
        assert all(thing.color for thing in caption.claims[0].objects), (
            "a caption without a colour is too easy"
        )


@pytest.mark.parametrize("kind", ["direction", "binding", "small-object"])
def test_what_a_pair_is_told_apart_by_can_be_seen(kind: str) -> None:
    for one, other in pairs(kind):
        for a, b in zip(one.scenes[0].objects, other.scenes[0].objects, strict=True):
            assert not look_alike(a, b), "an outlined circle looks like a ring"
        if kind == "binding" or one.scenes[0].event:
            assert not look_alike(*one.scenes[0].objects)


def test_small_object_pairs_differ_in_one_detail_of_a_small_object() -> None:
    shapes = 0
    for one, other in pairs("small-object"):
        different = [
            (a, b) for a, b in zip(one.scenes[0].objects, other.scenes[0].objects, strict=True) if a != b
        ]
        ((a, b),) = different
        assert a.size == "small"
        assert all(thing.size != "small" for thing in one.scenes[0].objects if thing is not a)
        assert (a.shape != b.shape) != (a.color != b.color)
        assert replace(b, shape=a.shape, color=a.color) == a
        shapes += a.shape != b.shape
        assert 2 * a.radius * 96 < 2 * 16, "a patch or two, of 16 pixels, at 96 pixels"
    assert 75 < shapes < 175


def test_small_objects_can_be_seen() -> None:
    for one, other in pairs("small-object")[:60]:
        for number in (0, one.num_frames // 2, one.num_frames - 1):
            difference = render_frame(one, number).astype(int) != render_frame(other, number)
            assert difference.any(axis=-1).sum() >= 20, (one, number)


def test_count_pairs_have_two_and_three_of_a_kind() -> None:
    for fewer, more in pairs("count"):
        kinds = [
            Counter((thing.shape, thing.color, thing.fill) for thing in video.scenes[0].objects)
            for video in (fewer, more)
        ]
        assert max(kinds[0].values()) == 2
        assert max(kinds[1].values()) == 3
        assert set(kinds[0]) == set(kinds[1])
        gone = [thing for thing in more.scenes[0].objects if thing not in fewer.scenes[0].objects]
        assert len(gone) == 1
    for caption in SLICES["count"].captions:
        assert ("two " in caption.text) != ("three " in caption.text)


def counted(number: int, *objects: ObjectClaim) -> Caption:
    claim = CountClaim(objects=objects, number=number)
    return Caption(text="", kind="scene", claims=(claim,), start_s=0.0, end_s=1.0)


def test_a_number_is_exact() -> None:
    two, three = pairs("count")[0]
    scene: Scene = three.scenes[0]
    thing = scene.objects[0]
    named = ObjectClaim(shape=thing.shape, color=thing.color)
    assert holds(counted(2, named), two)
    assert not holds(counted(3, named), two)
    assert holds(counted(3, named), three)
    assert not holds(counted(2, named), three), "three are not two, though two of them can be found"
    assert SceneClaim(objects=(named,)).holds(scene), "a caption that does not count holds of any number"
    absent = ObjectClaim(shape=thing.shape, color="red" if thing.color != "red" else "blue")
    assert not holds(counted(3, named, absent), three)
    recoloured = (replace(thing, color="red" if thing.color != "red" else "blue"), *scene.objects[1:])
    assert holds(counted(2, named), replace(three, scenes=(replace(scene, objects=recoloured),)))


def test_accuracy_of_the_choice_inside_pairs() -> None:
    gallery = SLICES["binding"]
    perfect = gallery.accuracy(gallery.relevance.astype(np.float32))
    assert (perfect.t2v, perfect.v2t, perfect.t2v_ties, perfect.v2t_ties) == (100, 100, 0, 0)
    wrong = gallery.accuracy(-gallery.relevance.astype(np.float32))
    assert (wrong.t2v, wrong.v2t) == (0, 0)
    blind = gallery.accuracy(np.zeros((500, 500)))
    assert (blind.t2v, blind.v2t, blind.t2v_ties, blind.v2t_ties) == (50, 50, 100, 100)
    # The similarity of text 0 with everything is the highest: its choice is right, text 1 loses video 1's.
    similarity = np.zeros((500, 500))
    similarity[0] = [2, 1] * 250
    t2v, v2t = gallery.choices(similarity)
    assert t2v[:4].tolist() == [1, 0.5, 0.5, 0.5]
    assert v2t[:4].tolist() == [1, 0, 0.5, 0.5]
    with pytest.raises(ShapeError, match="binding"):
        gallery.accuracy(np.zeros((500, 499)))


def test_impossible_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'binding'"):
        training_pairs("bindings", 1)
    for count, start in ((0, 0), (1, -1), (50_001, 0)):
        with pytest.raises(InputError, match="50000 pairs"):
            training_pairs("order", count, start=start)
