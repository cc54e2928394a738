"""Random weights for a judge's graph, so that only the graph need be carried to where the GPU is."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

LIST = "weights.json"
BYTES = {"FLOAT": 4, "FLOAT16": 2, "BFLOAT16": 2, "UINT8": 1}


def write_weights(folder: Path, torch: Any = None) -> int:
    """Fills `model.onnx_data` as `weights.json` lists it; the number of weights in the layers' matrices.

    Norms are about 1, matrices of variance 1 / inputs, the embedding of variance 1, rotary tables as they are. The same
    numbers wherever it runs, unless large ones are made by `torch` on a GPU.
    """
    listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    parameters = 0
    with (folder / "model.onnx_data").open("wb") as file:
        for name, dtype, shape, offset in listed:
            file.seek(offset)
            if len(shape) == 2 and not name.startswith("lager.") and "embed" not in name:
                parameters += int(np.prod(shape))
            file.write(_made(name, dtype, shape, torch))
    return parameters


def _made(name: str, dtype: str, shape: list[int], torch: Any) -> bytes:
    size = int(np.prod(shape))
    scale = 1.0 if "embed" in name else shape[0] ** -0.5
    if torch is not None and len(shape) == 2 and size > 1e7 and not name.startswith("lager."):
        made = torch.randn(shape, device="cuda") * scale
        return (
            made.to(torch.bfloat16 if dtype == "BFLOAT16" else torch.float16).view(torch.int16).cpu().numpy().tobytes()
        )
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.startswith(("lager.cos", "lager.sin")):
        angles = np.arange(shape[0])[:, None] * 1e5 ** (-np.arange(shape[1]) / shape[1])
        value = (np.cos if "cos" in name else np.sin)(angles)
    elif len(shape) == 1:
        value = random.uniform(0.5, 1.5, shape)
    else:
        value = random.standard_normal(shape, dtype=np.float32) * scale
    value = np.ascontiguousarray(value, dtype=np.float32)
    if dtype == "BFLOAT16":
        return ((value.view(np.uint32) + 0x8000) >> 16).astype(np.uint16).tobytes()
    return value.astype(np.float16 if dtype == "FLOAT16" else np.float32).tobytes()
