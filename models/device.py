"""Where a judge runs."""

import re
from typing import Final

from lager_onnx.models.errors import DeviceError

# "auto", "cpu", "cuda", or one GPU or several by number: "cuda:1", "cuda:0,cuda:1".
Device = str

_GPU: Final = re.compile(r"cuda(?::(\d+))?")


def gpus_of(device: Device) -> tuple[int, ...]:
    """The GPUs that a device names; () for "auto" and "cpu".

    Raises:
        DeviceError: it is none, or names a GPU twice.
    """
    if device in ("auto", "cpu"):
        return ()
    found = [_GPU.fullmatch(part.strip()) for part in device.split(",")]
    gpus = tuple(int(each[1] or 0) for each in found if each)
    if len(gpus) < len(found) or len(set(gpus)) < len(gpus):
        raise DeviceError(f"{device!r} is no device: choose auto, cpu, cuda, or GPUs by number: cuda:0,cuda:1")
    return gpus
