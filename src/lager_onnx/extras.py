"""Which extra of the installation brings a package that is not there."""

from importlib import import_module
from typing import Any, Final

from lager_onnx.models.errors import MissingPackageError

_EXTRA_OF: Final = {
    "onnxruntime": "cpu", "numpy": "cpu", "tokenizers": "cpu", "tqdm": "cpu",
    "onnx": "cpu,tune", "scipy": "cpu,tune", "matplotlib": "cpu,tune",
    "torch": "cpu,export", "transformers": "cpu,export", "optimum": "cpu,export", "onnx_ir": "cpu,export",
    "onnxscript": "cpu,export", "gguf": "cpu,export", "accelerate": "cpu,export", "safetensors": "cpu,export",
    "ray": "cpu,ray", "starlette": "cpu,serve", "uvicorn": "cpu,serve", "prometheus_client": "cpu,serve",
    "pydantic": "cpu,serve",
    "huggingface_hub": "cpu,export", "jinja2": "cpu,export", "pyarrow": "cpu,parquet",
}  # fmt: skip
# What a command needs besides, so that one installation is enough.
_EXTRA_OF_COMMAND: Final = {
    "export": "cpu,export",
    "tune": "cpu,tune",
    "cut": "cpu,tune",
    "evaluate": "cpu,tune",
    "serve": "cpu,serve",
}


# Enough for an export from an ONNX file: no PyTorch.
ONNX_EXTRA: Final = "cpu,onnx"
_OF_ONNX: Final = ("onnx", "onnx_ir", "onnxscript", "jinja2")


def import_public(module: str, name: str) -> Any:
    """A public name, from the module that it lives in; where that needs a package that is not there, says which extra.

    Raises:
        MissingPackageError: install that extra.
    """
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        missing = missing_package(error)
        if missing is None:
            raise
        raise missing from error


def missing_package(
    error: ImportError, needed_for: str = "", *, extra: str = "", to: str = ""
) -> MissingPackageError | None:
    """Return what to install, where a package of an extra is missing; None where the import failed for another reason.

    Args:
        error: of the import.
        needed_for: the command that needs it.
        extra: to install, where it is not the one of the package or of the command.
        to: what needs it, in words, where that is no command.
    """
    package = (error.name or str(error)).split(".")[0]
    known = _EXTRA_OF.get(package)
    if known is None or not isinstance(error, ModuleNotFoundError):
        return None
    if package != "pyarrow":  # one input's format, not the command, needs that
        known = extra or _EXTRA_OF_COMMAND.get(needed_for, known)
    gpu = f", or 'lager-onnx[{known.replace('cpu', 'gpu', 1)}]' for an NVIDIA GPU" if known == "cpu" else ""
    onnx = f", or 'lager-onnx[{ONNX_EXTRA}]' to export only decoders that are ONNX already"
    what = f"{to} needs" if to else f"lager {needed_for} needs" if needed_for else "this needs"
    return MissingPackageError(
        f"{what} the package {package}, which is not installed: pip install 'lager-onnx[{known}]'{gpu}"
        f"{onnx if known == 'cpu,export' and package in _OF_ONNX else ''}"
    )
