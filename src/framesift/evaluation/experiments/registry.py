"""Every experiment: what it asks, what the paper has, and the measurement that answers."""

from __future__ import annotations

from .crosstvr_ablations import AblationConfig, measure_ablations
from .crosstvr_depth import DepthConfig, measure_depth
from .crosstvr_encoders import EncodersConfig, measure_encoders
from .frame_count import FrameCountConfig, measure_frame_count
from .models import any_model, first_stage, plain_frames, with_crosstvr
from .outcome import Experiment
from .pareto import ParetoConfig, measure_pareto
from .xpool import (
    BestKConfig,
    DiversityConfig,
    PoolingConfig,
    measure_best_k,
    measure_diversity,
    measure_pooling,
)

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: dict[str, Experiment] = {
    "xpool-figure-3a": Experiment(
        title="Mean pooling against top-k pooling",
        source="X-Pool, Figure 3a",
        done="The same frame embeddings are pooled twice: all frames alike, or only the few that are nearest to the"
        " text. A model whose matcher was trained is shown beside them.",
        paper="Top-3 pooling of CLIP's frames finds more than their mean on MSR-VTT, zero-shot and fine-tuned. The"
        " figure's values are not in the text.",
        differs="The paper fine-tunes CLIP with each kind of pooling; here both pool the features of the same"
        " encoder,"
        " and `zero-shot` is an encoder that has seen single frames only. Give `--model` your own fine-tuned ones.",
        measure=measure_pooling,
        config=PoolingConfig,
        suits=plain_frames,
    ),
    "xpool-figure-3b": Experiment(
        title="How many frames match a text best",
        source="X-Pool, Figure 3b",
        done="For every text and each of its videos: the k for which the mean of the k frames nearest to the"
        " text has the"
        " highest cosine with it.",
        paper="Zero-shot CLIP on MSR-VTT: the best k is often small, and it varies from pair to pair, so that neither"
        " the mean nor one fixed k can be right.",
        differs="The measure is the same. Storyboard's captions tell of one or a few scenes out of several.",
        measure=measure_best_k,
        config=BestKConfig,
        suits=plain_frames,
    ),
    "xpool-figure-4": Experiment(
        title="Foreign scenes in every video",
        source="X-Pool, Figure 4",
        done="n scenes that have nothing to do with the text are put at random places of every video, frames"
        " are sampled"
        " anew, and the median rank is measured again. The scenes come from videos outside of the gallery, or from"
        " other videos of the gallery. The band is the 95 % interval over resampled queries.",
        paper="On MSR-VTT the median rank of mean pooling grows from 2 to 46, and that of X-Pool from 2 to 9."
        " The dashed"
        " lines join these ends; the points between are in the figure only, and are not drawn.",
        differs="The paper injects random videos of the same test set; here it is single scenes, drawn from"
        " either source,"
        " and a caption that a new scene makes true of another video counts for that video too.",
        measure=measure_diversity,
        config=DiversityConfig,
        suits=first_stage,
        storyboard_only=True,
    ),
    "crosstvr-depth": Experiment(
        title="How many candidates to rerank",
        source="CrossTVR, Figure 4",
        done="The reranker scores the best candidates of every text once, as many as the greatest depth needs; every"
        " smaller depth is then read from the same scores.",
        paper="R@5 and R@10 against K = 2 to 19; K = 15 is chosen.",
        differs="R@1 and the mean rank are shown as well. Candidates stay ahead of all others.",
        measure=measure_depth,
        config=DepthConfig,
        suits=with_crosstvr,
    ),
    "crosstvr-ablations": Experiment(
        title="The parts of the second stage",
        source="CrossTVR, Tables 6, 9 and 10",
        done="Trained models are compared with their first stage, in both directions. Name them with `--model"
        " LABEL=DIRECTORY`; `framesift.evaluation.experiments.variants` gives the configurations to train.",
        paper="Each pass helps alone, both help most; shared parameters do better than two sets; an encoder of the"
        " reranker's own is no better than the first stage's.",
        differs="The paper's Table 6 is measured with ViT-G and its header does not say which row is which"
        " pass. M, the"
        " tokens kept a frame, is 4 in the paper; its other values are our question.",
        measure=measure_ablations,
        config=AblationConfig,
        suits=with_crosstvr,
    ),
    "crosstvr-encoders": Experiment(
        title="A larger image encoder: fine-tuned, or frozen",
        source="CrossTVR, Table 7",
        done="A training step is run in a fresh process, with random weights and data: through the whole"
        " encoder and back,"
        " or from tokens that were computed once. Peak memory holds weights, gradients and optimiser.",
        paper="With ViT-G, frozen tokens take 91 % less memory and 58 % less time than end-to-end training.",
        differs="Only costs are measured, no recall, and for one step instead of a whole training; by default"
        " sizes, frames"
        " and batches are small enough for a CPU. Computing the tokens once is a column of its own. A missing"
        " bar did not fit in memory.",
        measure=measure_encoders,
        config=EncodersConfig,
        suits=None,
    ),
    "frame-count": Experiment(
        title="Accuracy and cost against the number of frames",
        source="12 frames in all papers",
        done="Every model sees each video with more and more frames, sampled uniformly.",
        paper="None of the papers varies it alone; all use 12 frames a video on short clips, 64 on long ones.",
        differs="Models are not trained anew: each was trained with one number of frames.",
        measure=measure_frame_count,
        config=FrameCountConfig,
        suits=any_model,
    ),
    "pareto": Experiment(
        title="Cost against accuracy of all systems",
        source="after CrossTVR, Table 8",
        done="R@1, and what a search costs: encoding the text, matching 1,000 videos, reranking the best of"
        " them. Seconds"
        " are the least of several runs. Encoding and storage of a video are in the table.",
        paper="First stages take 7.06, 8.24 and 12.17 s to encode and search 1,000 videos, and 0.15 to 0.21 s"
        " more with"
        " CrossTVR.",
        differs="The parts are timed one by one, and encoding a video, which happens once, is not part of a search.",
        measure=measure_pareto,
        config=ParetoConfig,
        suits=any_model,
    ),
}
"""Every experiment by the name of its command."""
