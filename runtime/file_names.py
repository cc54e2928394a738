"""What the name of an output promises, and whether the file would hold that."""

from pathlib import Path
from typing import Final, Literal

from lager_onnx.models.errors import OutputError
from lager_onnx.runtime.files import shown

Form = Literal["JSON lines", "JSON", "CSV", "HTML"]

# Endings of each form; the first is the one advised.
_ENDINGS: Final[dict[Form, tuple[str, ...]]] = {
    "JSON lines": ("jsonl", "ndjson", "jsonlines", "jl"),
    "JSON": ("json",),
    "CSV": ("csv", "tsv"),
    "HTML": ("html", "htm", "xhtml"),
}
# Endings of forms that nothing here is written in.
_OTHER_ENDINGS: Final = frozenset(
    (
        "psv", "tab", "parquet", "parq", "pqt", "pq", "arrow", "arrows", "ipc", "feather", "ftr", "orc", "avro",
        "xls", "xlsx", "xlsm", "xlsb", "ods", "odt", "doc", "docx", "pdf", "rtf", "ppt", "pptx", "md", "rst", "tex",
        "json5", "geojson", "ipynb", "bson", "msgpack", "cbor", "yaml", "yml", "toml", "ini", "xml",
        "pkl", "pickle", "joblib", "npy", "npz", "mat", "h5", "hdf", "hdf5", "nc", "zarr", "pt", "pth", "ckpt",
        "safetensors", "onnx", "gguf", "tfrecord", "tfrecords", "dta", "sav", "zsav", "por", "sas7bdat", "xpt",
        "rds", "rda", "rdata",
        "db", "db3", "sqlite", "sqlite3", "duckdb", "ddb", "lmdb", "mdb", "accdb", "sql", "lance", "vortex",
        "gz", "gzip", "bz2", "bzip2", "xz", "lzma", "zst", "zstd", "lz4", "br", "sz", "snappy", "z", "zip", "tar",
        "tgz", "tbz2", "txz", "7z", "rar", "png", "jpg", "jpeg", "gif", "svg", "webp", "bin", "exe",
    )
)  # fmt: skip


def ending(path: Path) -> str | None:
    """Return the ending that decides the form of a file: the last that is known, in lower case, without its dot."""
    return next((each for each in reversed(_endings(path)) if _known(each)), None)


def check_name(path: Path | None, form: Form) -> None:
    """Refuse an output whose name promises another form than it would hold, before the work that fills it.

    The last ending that is known decides, so that neither `x.csv.bak` nor `.csv` is filled with JSON lines; a name
    without one, such as `x.txt` or `x.graded`, promises nothing.

    Args:
        path: of the output; None, standard output, has no name.
        form: that is written.

    Raises:
        OutputError: its name promises another form; says a name that does not.
    """
    if path is None or (decisive := ending(path)) is None or decisive in _ENDINGS[form]:
        return
    first = next(number for number, each in enumerate(_endings(path)) if _known(each))
    stem = ".".join(path.name.split(".")[: first + 1]) or "results"
    convert = ", and convert that, such as with pandas.read_json(..., lines=True)" if form == "JSON lines" else ""
    raise OutputError(
        f"{shown(path)} would hold {form}, not what .{decisive} promises: write "
        f"{shown(stem)}.{_ENDINGS[form][0]}{convert}"
    )


def _endings(path: Path) -> list[str]:
    return [part.strip(" ~") for part in path.name.lower().split(".")[1:]]


def _known(ending: str) -> bool:
    return ending in _OTHER_ENDINGS or any(ending in endings for endings in _ENDINGS.values())
