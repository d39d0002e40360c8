"""Every benchmark that can be read: its files, its protocol, and what it should hold.

``load_split("msrvtt-1ka-9k", "test", "data")`` gives a :class:`.Split`; what differs from the published counts
is in its notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ..errors import DatasetError, InputError, suggest
from .activitynet import read_activitynet
from .annotations import Annotations
from .didemo import WINDOW_S, read_didemo
from .files import AnnotationFiles
from .holdout import HOLDOUT, hold_out
from .lsmdc import read_lsmdc
from .msrvtt import read_full, read_test_1ka, read_train_7k, read_train_9k
from .msvd import read_msvd
from .records import Protocol, Split
from .vatex import read_vatex

__all__ = ["ALIASES", "BENCHMARKS", "SPLIT_NAMES", "Benchmark", "Counts", "benchmark_named", "load_split"]

Reader: TypeAlias = Callable[[AnnotationFiles, str], Annotations]

SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many videos and captions (paragraphs) a split has where it was published; None where nobody says."""

    videos: int | None
    captions: int | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark as the field uses it.

    Attributes:
        title: its name in papers.
        readers: how each split that it has is read.
        files: names of the annotation files, of which ``|`` separates alternatives.
        folder_names: folders, in lower case, that are looked into besides the root itself.
        protocol: what a query is in validation and test.
        train_protocol: what a caption is in training.
        expected: published counts by split.
        num_words: most tokens of a text in the papers' settings.
        num_frames: frames of a video there.
        window_s: start and end of the part of every video that the papers see; None: all of it.
        get_it: where annotations and videos come from.
    """

    title: str
    readers: Mapping[str, Reader]
    files: tuple[str, ...]
    folder_names: tuple[str, ...]
    protocol: Protocol
    train_protocol: Protocol = "all-captions"
    expected: Mapping[str, Counts] = field(default_factory=dict[str, Counts])
    num_words: int = 32
    num_frames: int = 12
    window_s: tuple[float, float] | None = None
    get_it: str

    @property
    def has_val(self) -> bool:
        """Whether the field has a validation split apart from the test set."""
        return "val" in self.readers


def _counts(**splits: tuple[int | None, int | None]) -> dict[str, Counts]:
    return {split: Counts(videos=videos, captions=captions) for split, (videos, captions) in splits.items()}


def _same(reader: Reader, *splits: str) -> dict[str, Reader]:
    return dict.fromkeys(splits or SPLIT_NAMES, reader)


_MSRVTT_FOLDERS = ("msrvtt", "msr-vtt", "msr_vtt", "msrvtt_data")
_MSRVTT_FROM = (
    "MSRVTT_data.json and the lists are linked from CLIP4Clip's README; videos: the MSR-VTT archives"
)
_JSON = "MSRVTT_data.json | train_val_videodatainfo.json + test_videodatainfo.json"
_JSFUSION = "MSRVTT_JSFUSION_test.csv"

BENCHMARKS: dict[str, Benchmark] = {
    "msrvtt-1ka-9k": Benchmark(
        title="MSR-VTT 1K-A, 9k training videos",
        readers={"train": read_train_9k, "test": read_test_1ka},
        files=(_JSON, "MSRVTT_train.9k.csv", _JSFUSION),
        protocol="one-caption",
        expected=_counts(train=(9_000, 180_000), test=(1_000, 1_000)),
        folder_names=_MSRVTT_FOLDERS,
        get_it=_MSRVTT_FROM,
    ),
    "msrvtt-1ka-7k": Benchmark(
        title="MSR-VTT 1K-A, 7k training videos",
        readers={"train": read_train_7k, "test": read_test_1ka},
        files=(_JSON, "MSRVTT_train.7k.csv", _JSFUSION),
        protocol="one-caption",
        expected=_counts(train=(7_010, 140_200), test=(1_000, 1_000)),
        folder_names=_MSRVTT_FOLDERS,
        get_it=_MSRVTT_FROM,
    ),
    "msrvtt-full": Benchmark(
        title="MSR-VTT full",
        readers=_same(read_full),
        files=(_JSON,),
        protocol="all-captions",
        expected=_counts(train=(6_513, 130_260), val=(497, 9_940), test=(2_990, 59_800)),
        folder_names=_MSRVTT_FOLDERS,
        get_it=_MSRVTT_FROM,
    ),
    "msvd": Benchmark(
        title="MSVD",
        readers=_same(read_msvd),
        files=("{train,val,test}_list.txt", "captions_msvd.json | raw-captions.pkl"),
        folder_names=("msvd", "msvd_data"),
        protocol="all-captions",
        expected=_counts(train=(1_200, 48_774), val=(100, 4_290), test=(670, 27_763)),
        get_it="lists and raw-captions.pkl are linked from CLIP4Clip's README; videos: YouTubeClips.tar of MSVD",
    ),
    "lsmdc": Benchmark(
        title="LSMDC",
        readers=_same(read_lsmdc),
        files=("LSMDC16_annos_{training,val}.csv", "LSMDC16_challenge_1000_publictect.csv"),
        folder_names=("lsmdc", "lsmdc_data"),
        protocol="one-caption",
        expected=_counts(train=(None, 101_079), val=(None, 7_408), test=(1_000, 1_000)),
        get_it="LSMDC's authors send annotations and clips on a signed agreement",
    ),
    "didemo": Benchmark(
        title="DiDeMo",
        readers=_same(read_didemo),
        files=(
            "{train,val,test}_data.json | *didemo_*_label.csv",
            "{train,val,test}_list.txt (with the json)",
        ),
        folder_names=("didemo", "didemo_data"),
        protocol="paragraph",
        train_protocol="paragraph",
        expected=_counts(train=(8_395, 8_395), val=(1_065, 1_065), test=(1_004, 1_004)),
        num_words=64,
        num_frames=64,
        window_s=WINDOW_S,
        get_it="the json files are in the repository LisaAnne/LocalizingMoments, which says how to get the videos",
    ),
    "activitynet": Benchmark(
        title="ActivityNet Captions (val1)",
        readers=_same(read_activitynet, "train", "test"),
        files=("train.json", "val_1.json", "{train,val}_ids.json (if there)"),
        folder_names=("activitynet", "activity_net", "activitynet_data", "anet", "captions"),
        protocol="paragraph",
        train_protocol="paragraph",
        expected=_counts(train=(10_009, 10_009), test=(4_917, 4_917)),
        num_words=64,
        num_frames=64,
        get_it="captions.zip of ActivityNet Captions; videos: ask for them at activity-net.org",
    ),
    "vatex": Benchmark(
        title="VATEX (HGR's split)",
        readers=_same(read_vatex),
        files=("{train,val,test}_list.txt", "ref_captions.json | vatex_{training,validation}_v1.0.json"),
        folder_names=("vatex", "vatex_data"),
        protocol="all-captions",
        expected=_counts(train=(25_991, 259_910), val=(1_500, 15_000), test=(1_500, 15_000)),
        get_it="captions: VATEX's site; the lists are those of HGR (Chen et al. 2020), also in CLIP2Video's repository",
    ),
}

ALIASES = {
    "msrvtt": "msrvtt-1ka-9k",
    "msrvtt-1ka": "msrvtt-1ka-9k",
    "msrvtt-9k": "msrvtt-1ka-9k",
    "msrvtt-7k": "msrvtt-1ka-7k",
}


def benchmark_named(name: str) -> tuple[str, Benchmark]:
    """The key in :data:`BENCHMARKS` and the entry of a name or an alias.

    Raises:
        InputError: there is none.
    """
    key = ALIASES.get(name, name)
    if key not in BENCHMARKS:
        raise InputError(
            f"unknown benchmark {name!r}{suggest(name, [*BENCHMARKS, *ALIASES])} (known: {', '.join(BENCHMARKS)})"
        )
    return key, BENCHMARKS[key]


def load_split(
    name: str, split: str, root: str | Path, *, holdout: float = 0.0, val_is_test: bool = False
) -> Split:
    """A split of a benchmark, from its annotation files below ``root``.

    Where the field has no validation split (MSR-VTT 1K-A, ActivityNet), *val* is a part of the training videos that
    ``holdout`` names, chosen by the hashes of their ids and never from the test set; *train* with the same
    ``holdout`` is without it. Benchmarks with a validation split of their own ignore ``holdout``.

    Args:
        name: key of :data:`BENCHMARKS`, or an alias.
        split: ``train``, ``val`` or ``test``.
        root: folder with the annotation files, at their usual names and places.
        holdout: share of the training videos that is *val* where there is no other; 0: *train* is the published one.
        val_is_test: *val* is the test set, as in the published code of the field; a note says so.

    Raises:
        InputError: no such benchmark or split, or a ``holdout`` outside [0, 1).
        DatasetError: a file is missing or malformed, or *val* is asked for where there is none.
    """
    name, benchmark = benchmark_named(name)
    if split not in SPLIT_NAMES:
        raise InputError(f"unknown split {split!r}{suggest(split, SPLIT_NAMES)} (train, val or test)")
    if not 0 <= holdout < 1:
        raise InputError(
            f"holdout={holdout}: expected a share of the training videos, at least 0 and below 1"
        )
    if split == "val" and val_is_test:
        note = "val is the test set, as the papers did: the test result of what it selects is too good"
        test = _read(name, benchmark, "test", root)
        return replace(test, split="val", notes=(*test.notes, note))
    if benchmark.has_val or split == "test" or (split == "train" and holdout == 0):
        return _read(name, benchmark, split, root)
    if holdout == 0:
        raise DatasetError(
            f"{name} has no validation split; hold out a part of the training videos with holdout={HOLDOUT}, in train "
            "and in val, or take the test set with val_is_test=True, as the papers did"
        )
    parts = hold_out(_read(name, benchmark, "train", root), holdout, protocol=benchmark.protocol)
    return parts[split == "val"]


def _read(name: str, benchmark: Benchmark, split: str, root: str | Path) -> Split:
    files = AnnotationFiles(
        root, benchmark=name, folder_names=benchmark.folder_names, get_it=benchmark.get_it
    )
    read = benchmark.readers[split](files, split)
    notes = list(read.notes)
    expected = benchmark.expected.get(split)
    if expected is not None:
        for what, want, got in (
            ("videos", expected.videos, len(read.videos)),
            ("captions", expected.captions, len(read.captions)),
        ):
            if want is not None and want != got:
                notes.append(f"{got:,} {what} where {want:,} were published")
    if benchmark.window_s is not None:
        notes.append("of every video, {:g} to {:g} s are seen, as published".format(*benchmark.window_s))
    return Split(
        benchmark=name,
        split=split,
        protocol=benchmark.train_protocol if split == "train" else benchmark.protocol,
        videos=read.videos,
        captions=read.captions,
        notes=tuple(notes),
        window_s=benchmark.window_s,
    )
