"""The same rows in every datatype, and what they mean in float32."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, Any] = {
    "FP32": np.float32,
    "FP16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "FP64": np.float64,
}
# How a tensor travels: FP16 and BF16 have no form in JSON.
FORMS = [
    (datatype, is_binary)
    for datatype in DTYPES
    for is_binary in (True, False)
    if is_binary or datatype in ("FP32", "FP64")
]
ENCODINGS = [None, "gzip", "deflate"]


def rows(datatype: str = "FP32", *shape: int) -> NDArray[Any]:
    """Rows for the models of width 8, in a datatype."""
    random = np.random.default_rng(11).standard_normal(shape or (5, 8), np.float32)
    return random.astype(DTYPES[datatype])


def meant(array: NDArray[Any]) -> NDArray[np.float32]:
    """The rows once they went through their datatype."""
    return array.astype(np.float32)
