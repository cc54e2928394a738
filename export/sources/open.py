"""Opens whatever a judge is to be made from; what a kind of file needs is imported for it alone."""

from lager_onnx.export.sources.source import Source
from lager_onnx.extras import ONNX_EXTRA, missing_package


def open_source(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """Return the decoder in an ONNX file, or that of a checkpoint; see `open_onnx` and `load_checkpoint`.

    Raises:
        MissingPackageError: a package that this kind of file needs is not installed; names the extra that brings it.
    """
    onnx = name.endswith(".onnx")
    try:
        if onnx:
            from lager_onnx.export.sources.onnx_model import open_onnx  # noqa: PLC0415
        else:
            from lager_onnx.export.checkpoint import load_checkpoint  # noqa: PLC0415
    except ImportError as error:
        what = "an export from an ONNX file" if onnx else "an export from a checkpoint"
        missing = missing_package(error, extra=ONNX_EXTRA if onnx else "cpu,export", to=what)
        if missing is None:
            raise
        raise missing from error
    if onnx:
        return open_onnx(name)
    return load_checkpoint(name, revision=revision, trust_remote_code=trust_remote_code)
