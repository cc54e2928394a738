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


def missing_package(error: ImportError, needed_for: str = "") -> MissingPackageError | None:
    """What to install, where a package of an extra is missing; None where the import failed for another reason."""
    package = (error.name or "").split(".")[0]
    extra = _EXTRA_OF.get(package)
    if extra is None or not isinstance(error, ModuleNotFoundError):
        return None
    if package != "pyarrow":  # one input's format, not the command, needs that
        extra = _EXTRA_OF_COMMAND.get(needed_for, extra)
    gpu = f", or 'lager-onnx[{extra.replace('cpu', 'gpu', 1)}]' for an NVIDIA GPU" if extra == "cpu" else ""
    what = f"lager {needed_for} needs" if needed_for else "this needs"
    return MissingPackageError(
        f"{what} the package {package}, which is not installed: pip install 'lager-onnx[{extra}]'{gpu}"
    )
