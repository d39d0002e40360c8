"""Rich search over real video files: terms, steps, filters, feedback, subtitles, duplicates, pages, threads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from colour_model import COLOURS, ColourModel, write_clip
from framesift.errors import InputError
from framesift.features import VideoFeatures
from framesift.index import BuildConfig, Index
from framesift.search import (
    Answer,
    ClipTerm,
    ImageTerm,
    MomentRef,
    MomentTerm,
    Query,
    Searcher,
    Step,
    TextTerm,
    describe,
    parse_query,
)
from framesift.video import Frames

QUICK = BuildConfig(workers=0)
MANY = ["red", "green", "blue", "white"]


@dataclass
class Model(ColourModel):
    """With what examples and explanations use of a model, too."""

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode_video(self, videos: Sequence[Frames]) -> VideoFeatures:
        return self.encoder.encode_video(
            [Frames(v.pixels, np.arange(len(v.pixels), dtype=np.float64), "") for v in videos]
        )


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of each colour, one larger copy, one that shows four colours and one that shows them backwards."""
    folder = tmp_path_factory.mktemp("clips")
    for colour in COLOURS:
        write_clip(folder / "one" / f"{colour}.mp4", [colour])
    write_clip(folder / "copies" / "cyan copy.mp4", ["cyan"], size_px=48)
    write_clip(folder / "many" / "forwards.mp4", MANY, seconds=2)
    write_clip(folder / "many" / "backwards.mp4", MANY[::-1], seconds=2)
    (folder / "one" / "white.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nThe quick brown fox\n")
    return folder


@pytest.fixture(scope="module", params=["shots", "whole"])
def index(
    request: pytest.FixtureRequest, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Index]:
    place = tmp_path_factory.mktemp("index") / request.param
    with Index.create(place, model=Model(), moments=request.param) as made:
        made.add(clips, config=QUICK)
        yield made


@pytest.fixture(scope="module")
def searcher(index: Index) -> Searcher:
    return Searcher(index)


def names(answer: Answer) -> list[str]:
    return [Path(result.hit.video).stem for result in answer.results]


def whole(path: Path) -> MomentRef:
    return MomentRef(video=str(path), start_s=0.0, end_s=60.0)


@pytest.mark.parametrize("unit", ["moment", "video"])
@pytest.mark.parametrize(("k", "depth"), [(3, 200), (100, 200), (4, 5)])
def test_a_sentence_is_searched_as_by_the_index(
    index: Index, searcher: Searcher, unit: str, k: int, depth: int
) -> None:
    for text in ("something red", "  green or yellow ", "white"):
        hits = index.search(text, k=k, depth=depth, unit=unit)  # type: ignore[arg-type]
        answer = searcher.search(
            text,
            k=k,
            depth=depth,
            unit=unit,
            sources=("frames",),
            group_duplicates=False,  # type: ignore[arg-type]
        )
        found = [result.hit for result in answer.results][: len(hits)]
        assert [(h.rank, h.video, h.start_s, h.end_s, h.score) for h in found] == [
            (h.rank, h.video, h.start_s, h.end_s, h.score) for h in hits
        ]
        for ours, theirs in zip(found, hits, strict=True):
            assert ours.frame_times_s == theirs.frame_times_s
            assert ours.attention == pytest.approx(theirs.attention)
        assert answer.results[0].sources[0].rank == 1
        assert answer.results[0].relevance is None, "too few moments to tell"


def test_pages_show_everything_once(searcher: Searcher) -> None:
    def pages(**options: object) -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []
        offset: int | None = 0
        while offset is not None:
            answer = searcher.search("red", k=2, offset=offset, **options)  # type: ignore[arg-type]
            assert [r.hit.rank for r in answer.results] == list(
                range(offset + 1, offset + 1 + len(answer.results))
            )
            seen += [(r.hit.video, r.hit.start_s) for r in answer.results]
            offset = answer.next_offset
        return seen

    for depth in (3, 200):
        videos = pages(depth=depth, unit="video", group_duplicates=False)
        assert len(videos) == len(set(videos)) == len(searcher.index.videos())
        moments = pages(depth=depth, group_duplicates=False)
        assert len(moments) == len(set(moments))
    assert searcher.search("red", offset=500).results == ()


def test_filters_act_before_candidates_are_proposed(index: Index, searcher: Searcher, clips: Path) -> None:
    answer = searcher.search("red name:cyan*", depth=1, group_duplicates=False)
    assert set(names(answer)) == {"cyan", "cyan copy"}
    assert answer.searched == 2 < answer.moments == len(index)
    assert set(names(searcher.search("red folder:many", group_duplicates=False))) == {"forwards", "backwards"}
    assert names(searcher.search(f'red folder:"{clips}/copies"')) == ["cyan copy"]
    assert names(searcher.search("red shorter:1.5s", k=1)) == ["red"]
    empty = searcher.search("red after:9999-12-31")
    assert (empty.results, empty.searched, empty.nothing_fits, empty.next_offset) == ((), 0, False, None)


def test_tags_are_seen_by_the_next_search_and_survive_indexing(
    index: Index, searcher: Searcher, clips: Path
) -> None:
    index.tag([clips / "one" / "red.mp4", clips / "many"], add=["Warm", " two words "], remove=["nothing"])
    assert set(names(searcher.search("blue tag:warm", group_duplicates=False))) == {
        "red",
        "forwards",
        "backwards",
    }
    changed = clips / "one" / "red.mp4"
    os.utime(changed, ns=(0, changed.stat().st_mtime_ns + 10**9))
    assert index.add(clips, config=QUICK).replaced == 1
    index.tag(clips / "many", remove=["WARM"])
    assert names(searcher.search('blue tag:warm tag:"two words"')) == ["red"]
    index.tag(clips, remove=["warm", "two words"])
    assert searcher.search("blue tag:warm").searched == 0
    for bad in ("", "a\nb", "x" * 101):
        with pytest.raises(InputError, match="tag"):
            index.tag(clips, add=[bad])
    with pytest.raises(InputError, match="holds nothing of"):
        index.tag(clips / "nowhere", add=["x"])


def test_a_negative_term_keeps_out_what_shows_it(searcher: Searcher) -> None:
    plain, without = (names(searcher.search(f"{text} folder:one")) for text in ("red", "red -green"))
    assert plain[0] == without[0] == "red"
    assert plain.index("green") < min(plain.index("blue"), plain.index("white"))
    assert without.index("green") > max(without.index("blue"), without.index("white"))


def test_weights_decide_between_terms(searcher: Searcher) -> None:
    assert names(searcher.search("blue^5 red folder:one", k=1)) == ["blue"]
    assert names(searcher.search("red^5 blue folder:one", k=1)) == ["red"]


def test_then_finds_the_order_of_things(searcher: Searcher) -> None:
    (best, *_) = searcher.search("red then white").results
    assert Path(best.hit.video).stem == "forwards"
    first, second = best.parts
    assert (first.start_s, second.end_s) == (best.hit.start_s, best.hit.end_s)
    assert first.start_s < 2 <= second.start_s
    assert first.end_s <= second.start_s + 1e-3
    assert sum(best.hit.attention) == pytest.approx(1.0)
    assert len(best.hit.attention) == len(best.hit.frame_times_s)
    assert names(searcher.search("white then red", k=1)) == ["backwards"]
    assert names(searcher.search("red then white name:f* -blue")) == ["forwards"]
    near = searcher.search("red then within 1s white").results
    assert all(r.parts[1].start_s - r.parts[0].end_s <= 1.01 for r in near)
    paged = [names(searcher.search("red then white", k=1, offset=o))[0] for o in (0, 1)]
    assert paged == names(searcher.search("red then white", k=2))
    with pytest.raises(InputError, match="add 'frames'"):
        searcher.search("red then white", sources=("subtitles",))


def test_subtitles_are_fused_and_shown(searcher: Searcher) -> None:
    answer = searcher.search("quick fox", k=20, group_duplicates=False)
    (said,) = [r for r in answer.results if any(s.name == "subtitles" for s in r.sources)]
    assert Path(said.hit.video).stem == "white"
    (line,) = [s for s in said.sources if s.name == "subtitles"]
    assert (line.rank, line.text, line.start_s) == (1, "The quick brown fox", pytest.approx(0.1))
    assert said.hit.rank <= 2
    alone = searcher.search("quick fox", sources=("subtitles",))
    assert names(alone) == ["white"]
    assert [s.name for s in alone.results[0].sources] == ["subtitles"]
    assert searcher.search("no such words", sources=("subtitles",)).results == ()
    assert "subtitles" not in str(searcher.search("quick fox name:red*").results)


def test_copies_are_folded_into_the_best(searcher: Searcher) -> None:
    answer = searcher.search("cyan", unit="video")
    best = answer.results[0]
    assert {Path(best.hit.video).stem, *(Path(d.video).stem for d in best.duplicates)} >= {
        "cyan",
        "cyan copy",
    }
    assert not {"cyan", "cyan copy"} & set(names(answer)[1:])


def test_pictures_clips_and_moments_are_queries(searcher: Searcher, clips: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), COLOURS["green"]).save(tmp_path / "green.png")
    one = clips / "one"
    for term, expected in (
        (ImageTerm(path=tmp_path / "green.png"), "green"),
        (ClipTerm(path=one / "blue.mp4"), "blue"),
        (MomentTerm(moment=whole(one / "yellow.mp4")), "yellow"),
    ):
        answer = searcher.search(parse_query("folder:one", like=[term]))
        assert names(answer)[0] == expected
        assert sum(answer.results[0].hit.attention) == pytest.approx(1.0)
    both = parse_query("-green^5 folder:one", like=[ImageTerm(path=tmp_path / "green.png")])
    assert names(searcher.search(both))[0] != "green"
    with pytest.raises(InputError, match="nothing of"):
        searcher.search(Query(steps=(Step(terms=(MomentTerm(moment=whole(tmp_path / "x.mp4")),)),)))


def test_feedback_moves_the_query(searcher: Searcher, clips: Path) -> None:
    one = clips / "one"
    plain = names(searcher.search("red folder:one"))
    liked = searcher.search(parse_query("red folder:one", liked=[whole(one / "blue.mp4")]))
    assert names(liked).index("blue") < plain.index("blue")
    disliked = searcher.search(parse_query("red folder:one", disliked=[whole(one / "red.mp4")]))
    assert "red" not in names(disliked)
    assert disliked.searched == liked.searched - 1


def test_timeline_has_every_moment_and_frame(index: Index, searcher: Searcher, clips: Path) -> None:
    line = searcher.timeline(clips / "many" / "forwards.mp4", "blue")
    assert line.moments[0].start_s == 0.0
    assert [m.start_s for m in line.moments] == sorted(m.start_s for m in line.moments)
    best = max(line.frames, key=lambda frame: frame.score)
    assert 4 <= best.time_s < 6
    assert sum(frame.attention for frame in line.frames) == pytest.approx(len(line.moments))
    several = searcher.timeline(clips / "many" / "forwards.mp4", "red then white").frames
    assert several[0].step == 0
    assert several[-1].step == 1
    with pytest.raises(InputError, match="no moments of"):
        searcher.timeline(clips / "nowhere.mp4", "blue")


def test_reasons_are_of_stored_features(searcher: Searcher, clips: Path) -> None:
    reason = searcher.explain("blue -red", whole(clips / "many" / "forwards.mp4"))
    assert reason.text == "blue"
    weight = reason.explanation.frame_weight
    assert weight is not None
    assert len(weight) >= len(reason.frame_times_s)
    assert 4 <= reason.frame_times_s[int(weight.argmax())] < 6
    with pytest.raises(InputError, match="holds nothing of"):
        searcher.explain("blue", whole(clips / "nowhere.mp4"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"rerank_depth": -1}, "rerank_depth is -1"),
        ({"offset": -1}, "offset is -1"),
        ({"offset": 10_000}, "at most 10,000"),
        ({"unit": "film"}, "'film' is unknown"),
        ({"sources": ()}, "no source"),
        ({"sources": ("frame",)}, "did you mean 'frames'"),
    ],
)
def test_wrong_numbers_and_choices(searcher: Searcher, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        searcher.search("red", **options)  # type: ignore[arg-type]


def test_queries_that_are_none(searcher: Searcher) -> None:
    for query in (Query(steps=()), Query(steps=(Step(terms=(TextTerm(text="x", weight=-1.0),)),))):
        with pytest.raises(InputError, match=r"no step|nothing to look for"):
            searcher.search(query)
    with pytest.raises(InputError, match="not 0"):
        searcher.search(Query(steps=(Step(terms=(TextTerm(text="x"), TextTerm(text="y", weight=0.0))),)))


def test_threads_get_the_same_answers(searcher: Searcher, index: Index) -> None:
    queries = ["red", "red -green", "red then white", "blue^2 red", "cyan name:*copy*"] * 8
    expected = {query: searcher.search(query).to_dict()["results"] for query in set(queries)}
    fresh = Searcher(index)
    with ThreadPoolExecutor(8) as threads:
        for query, answer in zip(queries, threads.map(fresh.search, queries), strict=True):
            assert answer.to_dict()["results"] == expected[query]


def test_captions_are_ranked_for_files_and_moments(index: Index, clips: Path) -> None:
    model = Model()
    captions = ["all red", "all green", "all blue", "all green"]
    one = clips / "one" / "green.mp4"
    for given in (index, None):
        ranked = describe(model, given, one, captions)  # type: ignore[arg-type]
        assert [c.rank for c in ranked] == [1, 2, 3]
        assert ranked[0].text == "all green"
        assert sum(ranked[0].attention) == pytest.approx(1.0)
        assert len(ranked[0].attention) == len(ranked[0].frame_times_s)
    many = clips / "many" / "forwards.mp4"
    (part,) = describe(model, index, many, captions, start_s=4.1, end_s=5.9, k=1)  # type: ignore[arg-type]
    assert part.text == "all blue"
    assert all(4 <= time < 6 for time in part.frame_times_s)
    (tag,) = describe(model, None, one, ["red", "green"], template="all {}", k=1)  # type: ignore[arg-type]
    assert tag.text == "green"
    for options, said in (
        ({"template": "x"}, "no {}"),
        ({"k": 0}, "k is 0"),
        ({"start_s": 2.0, "end_s": 1.0}, "no length"),
        ({"start_s": 100.0}, "nothing from 100 s to its end"),
    ):
        with pytest.raises(InputError, match=said):
            describe(model, None, one, captions, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no captions"):
        describe(model, None, one, [" "])  # type: ignore[arg-type]


def test_an_empty_index_answers_nothing(tmp_path: Path) -> None:
    with Index.create(tmp_path / "empty", model=Model()) as empty:
        for query in ("red", "red -green", "red then green"):
            answer = Searcher(empty).search(query)
            assert (answer.results, answer.moments, answer.nothing_fits) == ((), 0, False)


def test_relevance_tells_what_stands_out(tmp_path: Path) -> None:
    """Forty moments that are nearly alike, and one that is what was asked for, or is not there."""
    for n in range(40):
        write_clip(
            tmp_path / "v" / f"{n}.mp4", ["blue"] if n % 2 else ["cyan"], seconds=0.25 + 0.125 * (n % 3)
        )
    with Index.create(tmp_path / "i", model=Model(), moments="whole") as index:
        index.add(tmp_path / "v", config=QUICK)
        searcher = Searcher(index)
        before = searcher.search("red", group_duplicates=False)
        assert before.results[0].relevance is not None
        write_clip(tmp_path / "v" / "red.mp4", ["red"])
        index.add(tmp_path / "v", config=QUICK)
        after = searcher.search("red", group_duplicates=False)
        assert names(after)[0] == "red"
        assert (after.results[0].relevance or 0) > max(0.5, before.results[0].relevance)
        assert after.nothing_fits is False


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Orange clips, somewhat red and somewhat yellow, and one that shows both, each for a second, among what makes the
    mean of its frames grey. Every clip is one moment."""
    folder = tmp_path_factory.mktemp("hidden")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COLOURS, "orange", (220, 125, 30))
        for number in range(8):
            write_clip(folder / f"orange{number}.mp4", ["orange"])
    write_clip(folder / "both.mp4", ["red", "cyan", "yellow", "blue"])
    for colour in ("green", "white", "cyan"):
        write_clip(folder / f"{colour}.mp4", [colour])
    with Index.create(folder / "index", model=Model(), moments="whole") as made:
        made.add(folder, config=QUICK)
        yield made


def test_several_terms_find_a_moment_by_the_scenes_that_its_mean_hides(hidden: Index) -> None:
    query = '"red" "yellow"'
    everything = Searcher(hidden).search(query, k=1, depth=100, sources=("frames",))
    assert names(everything) == ["both"]
    # Among the first three by the means there are orange ones alone.
    gallery = hidden.gallery()
    means = gallery.vectors_of(torch.arange(len(gallery)))
    wanted = torch.nn.functional.normalize(Model().encode_text(["red", "yellow"]).sentence, dim=1)
    nearest = (means @ wanted.T).mean(dim=1).topk(3).indices.tolist()
    assert all("orange" in gallery.moment(row).uri for row in nearest)
    few = Searcher(hidden).search(query, k=1, depth=3, sources=("frames",))
    assert names(few) == ["both"]
    assert few.results[0].hit.score == pytest.approx(everything.results[0].hit.score)


def test_steps_are_found_by_scenes_too(hidden: Index) -> None:
    answer = Searcher(hidden).search("red then yellow", k=1, depth=2, sources=("frames",))
    assert names(answer) == ["both"]


def test_several_terms_are_proposed_from_the_rows_that_a_filter_leaves(hidden: Index) -> None:
    answer = Searcher(hidden).search(
        '"red" "yellow" name:orange*', k=3, depth=3, unit="video", sources=("frames",), group_duplicates=False
    )
    assert len(names(answer)) == 3
    assert all(name.startswith("orange") for name in names(answer))
