"""Towers in int8, by NNCF (``framesift[openvino]``).

The vision tower's matrices and activations are quantised after training: ranges are taken from calibration pictures,
outliers of activations are moved into the weights before (SmoothQuant; Xiao et al., 2023). The text tower's weights
alone are: one text is bound by reading them, so that quantised activations would cost accuracy and gain nothing.
"""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError, ModelError
from .conversion import Tower, import_openvino
from .samples import calibration_pictures

if TYPE_CHECKING:
    from .base import Encoder

__all__ = ["quantise"]

CALIBRATION_BATCH = 4


def quantise(network: Any, encoder: Encoder, tower: Tower) -> Any:
    """A network of a tower in int8; the given one must not be used afterwards.

    Raises:
        MissingExtraError: NNCF is not installed.
        ModelError: NNCF cannot quantise it.
    """
    import_openvino()  # first: NNCF reports its use with the same package
    try:
        import nncf
    except ModuleNotFoundError:
        raise MissingExtraError("nncf", "openvino") from None
    nncf.set_log_level(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):  # its progress bars; stdout is for data
            if tower == "text":
                return nncf.compress_weights(network, mode=nncf.CompressWeightsMode.INT8_SYM)
            pixels = encoder.preprocess(calibration_pictures()).numpy()
            batches = [
                pixels[start : start + CALIBRATION_BATCH]
                for start in range(0, len(pixels), CALIBRATION_BATCH)
            ]
            return nncf.quantize(
                network,
                nncf.Dataset(batches),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(batches),
            )
    except Exception as error:  # of NNCF and OpenVINO: many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"NNCF cannot quantise the {tower} tower of {encoder.name!r}: {reason}") from None
