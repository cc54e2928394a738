"""Opens whatever a judge is to be made from; what a kind of file needs is imported for it alone."""

from lager_onnx.export.sources.source import Source


def open_source(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """The decoder in an ONNX file, or that of a checkpoint; see `open_onnx` and `load_checkpoint`."""
    if name.endswith(".onnx"):
        from lager_onnx.export.sources.onnx_model import open_onnx  # noqa: PLC0415

        return open_onnx(name)
    from lager_onnx.export.checkpoint import load_checkpoint  # noqa: PLC0415

    return load_checkpoint(name, revision=revision, trust_remote_code=trust_remote_code)
