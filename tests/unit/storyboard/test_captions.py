from dataclasses import replace

import numpy as np
import pytest

from framesift.errors import InputError
from framesift.storyboard import captions, diversity, draw_storyboard, holds, paragraph, relevance, standard
from framesift.storyboard.captions import Caption, ObjectClaim, SceneClaim

VIDEOS = [draw_storyboard(seed) for seed in range(150)]


def test_every_caption_is_true_of_its_own_video_and_inside_it() -> None:
    for video in VIDEOS:
        own = captions(video)
        assert 1 <= len(own) <= 20
        assert len({caption.text for caption in own}) == len(own)
        for caption in [*own, paragraph(video)]:
            assert holds(caption, video), caption
            assert 0 <= caption.start_s < caption.end_s <= video.duration_s + 1e-9


def test_captions_are_the_same_every_time() -> None:
    assert captions(VIDEOS[0]) == captions(draw_storyboard(0))


def test_a_caption_speaks_of_the_scenes_it_names() -> None:
    """The claims of a caption about one scene hold of exactly the scene of its moment, when it is unique there."""
    for video in VIDEOS:
        for caption in captions(video):
            if caption.kind == "order":
                continue
            matching = [n for n, scene in enumerate(video.scenes) if caption.claims[0].holds(scene)]
            spans = [video.span_s(n) for n in matching]
            assert (caption.start_s, caption.end_s) in spans


def test_order_matters() -> None:
    for video in VIDEOS:
        for caption in captions(video):
            if caption.kind != "order":
                continue
            backwards = replace(video, scenes=tuple(reversed(video.scenes)))
            first, second = caption.claims
            either = any(first.holds(s) and second.holds(s) for s in video.scenes)
            twice = (
                sum(first.holds(s) for s in video.scenes) > 1
                or sum(second.holds(s) for s in video.scenes) > 1
            )
            if not either and not twice:
                assert not holds(caption, backwards)


def test_a_false_detail_makes_a_claim_false() -> None:
    scene = next(s for v in VIDEOS for s in v.scenes if len(s.objects) == 1)
    thing = scene.objects[0]
    true = SceneClaim(objects=(ObjectClaim(shape=thing.shape, color=thing.color, motion=thing.motion),))
    assert true.holds(scene)
    wrong_color = "red" if thing.color != "red" else "blue"
    assert not SceneClaim(objects=(ObjectClaim(shape=thing.shape, color=wrong_color),)).holds(scene)
    elsewhere = "snow" if scene.background != "snow" else "sand"
    assert not SceneClaim(objects=true.objects, background=elsewhere).holds(scene)
    assert not SceneClaim(objects=true.objects * 2).holds(scene), "one object cannot be two"


def test_relations_have_a_direction() -> None:
    scene = next(s for v in VIDEOS for s in v.scenes if s.layout == "rows")
    upper, lower = (ObjectClaim(shape=t.shape, color=t.color) for t in scene.objects[:2])
    assert SceneClaim(objects=(upper, lower), relation="rows").holds(scene)
    assert not SceneClaim(objects=(lower, upper), relation="rows").holds(scene)


def test_relevance_equals_checking_every_pair() -> None:
    videos = VIDEOS[:40]
    texts = [caption for video in videos for caption in captions(video, limit=3)]
    expected = np.array([[holds(text, video) for video in videos] for text in texts])
    np.testing.assert_array_equal(relevance(texts, videos), expected)


def test_standard_slice_has_one_answer_nearly_everywhere() -> None:
    gallery = standard(200)
    assert gallery.relevance.shape == (200, 200)
    assert gallery.relevance.diagonal().all()
    assert (gallery.relevance.sum(axis=1) == 1).mean() > 0.98
    assert len(set(gallery.texts)) == 200
    assert repr(gallery) == "<Slice standard 200 texts x 200 videos>"


@pytest.mark.parametrize("source", ["pool", "gallery"])
def test_diversity_injects_scenes_and_keeps_the_own_ones_in_order(source: str) -> None:
    base = standard(30)
    disturbed = diversity(base, 5, source=source)
    assert disturbed.captions == base.captions
    assert disturbed.relevance.diagonal().all(), "a caption stays true of its video"
    for before, after in zip(base.videos, disturbed.videos, strict=True):
        assert len(after.scenes) == len(before.scenes) + 5
        rest = iter(after.scenes)
        assert all(any(scene == other for other in rest) for scene in before.scenes)
    assert diversity(base, 5, source=source).videos == disturbed.videos


def test_diversity_zero_is_the_gallery_itself() -> None:
    base = standard(20)
    assert diversity(base, 0).videos == base.videos


def test_impossible_slices_are_refused() -> None:
    base = standard(2)
    with pytest.raises(InputError, match="source"):
        diversity(base, 1, source="elsewhere")
    with pytest.raises(InputError, match="-1"):
        diversity(base, -1)
    with pytest.raises(InputError, match="no foreign scenes"):
        diversity(standard(1), 1, source="gallery")


def test_meeting_is_mutual() -> None:
    scene = next(s for v in (draw_storyboard(n) for n in range(2000)) for s in v.scenes if s.event == "meets")
    one, other = (ObjectClaim(shape=t.shape, color=t.color) for t in scene.objects)
    for order in ((one, other), (other, one)):
        claim = SceneClaim(objects=order, relation="meets")
        assert claim.holds(scene)
        assert holds(
            Caption(text="", kind="scene", claims=(claim,), start_s=0, end_s=1),
            replace(draw_storyboard(0), scenes=(scene,)),
        )
