"""`make test-cpus`: the same records, graded here and on emulated processors, must score the same.

qemu-user emulates an x86 processor with SSE4.2 (Nehalem), one with AVX2 and no VNNI (Haswell), and ARM64 ones with and
without products of bytes (Neoverse N1, Cortex A72), which run Debian's Python and ARM64 wheels of what scoring needs.
It knows no AVX512, so processors with AVX512 but without VNNI (Skylake-X) are not shown; the session option that makes
products exact is the same there.

Needs Debian with qemu-user-static and debootstrap, as root: apt-get install qemu-user-static debootstrap.
"""

import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args

from lager_onnx.export import export_judge
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec
from support.tiny import VARIANTS, make_checkpoint

ROOT: Final = Path(__file__).parents[2]
WORK: Final = ROOT / ".cache" / "cpus"
ARM: Final = WORK / "arm64"
GRADE: Final = Path(__file__).with_name("grade.py")
# Largest difference of a score, as a share of the scale. Kernels for 4 bits differ between processors.
ALLOWED: Final[dict[str, float]] = {"fp32": 1e-3, "fp16": 1e-3, "bf16": 1e-3, "int8": 1e-3, "int4": 1e-2}
RESPONSES: Final = ("good", "bad answer", "ok", "The response is good.", "Jupiter is the largest planet of all.")
NEEDED: Final = ("click", "numpy", "onnxruntime", "tokenizers", "tqdm")
# What the kernel of an emulated ARM64 processor would show; without it onnxruntime crashes when it is imported.
CPUINFO: Final = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop{products}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: {part}
CPU revision\t: 1
"""
# Features that qemu's emulation of these processors lacks, and would say so for every thread.
UNKNOWN_TO_QEMU: Final = ",-pcid,-x2apic,-tsc-deadline,-invpcid,-hle,-rtm"


def main() -> int:
    """Prints a table; returns 1 where a score differs by more than is allowed."""
    for program in ("qemu-x86_64-static", "qemu-aarch64-static", "debootstrap"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install qemu-user-static debootstrap")
    WORK.mkdir(parents=True, exist_ok=True)
    judges, records = make_judges(), make_records()
    here = grade([sys.executable], judges, records)
    lowest, highest = min(here["scores"]["fp32"]), max(here["scores"]["fp32"])
    assert highest - lowest > 0.3, "scores must differ between records, or they would agree whatever multiplies"
    wheels = arm64()
    x86 = ("qemu-x86_64-static", sys.executable)
    arm = ("qemu-aarch64-static", "-L", str(ARM), str(ARM / "usr/bin/python3.11"))
    others = {
        "x86 SSE4.2": [x86[0], "-cpu", "Nehalem", x86[1]],
        "x86 AVX2": [x86[0], "-cpu", "Haswell" + UNKNOWN_TO_QEMU, x86[1]],
        "ARM64": ["env", f"PYTHONPATH={wheels}", arm[0], "-cpu", "cortex-a72", *arm[1:]],
        "ARM64 with products of bytes": ["env", f"PYTHONPATH={wheels}", arm[0], "-cpu", "neoverse-n1", *arm[1:]],
    }
    cpuinfo = {
        "ARM64": CPUINFO.format(products="", part="0xd08"),
        "ARM64 with products of bytes": CPUINFO.format(products=" asimddp", part="0xd0c"),
    }
    failed = False
    for name, command in others.items():
        print(f"{name} ...", file=sys.stderr)
        if name in cpuinfo:
            (ARM / "proc" / "cpuinfo").write_text(cpuinfo[name])
        there = grade(command, judges, records)
        print(f"{name}: products in 8 bits {'saturate' if there['saturates'] else 'are exact'} without our option")
        for judge, scores in here["scores"].items():
            width = JudgeSpec.load(judges / judge).scale.width
            apart = max(abs(a - b) for a, b in zip(scores, there["scores"][judge], strict=True)) / width
            allowed = ALLOWED[judge]
            failed |= not apart <= allowed
            print(f"  {judge:5s} {len(scores)} scores, at most {apart:.1e} of the scale apart (allowed {allowed:.0e})")
    return int(failed)


def make_judges() -> Path:
    """A small judge of every precision, made on this machine."""
    folder = WORK / "judges"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = make_checkpoint(WORK / "checkpoint", *VARIANTS["llama"], head=0.2, body=0.6)
    for precision in get_args(Precision):
        export_judge(checkpoint, folder / precision, precision=precision, template="brief", verify_judge=False)
    return folder


def make_records() -> Path:
    """Twenty records."""
    file = WORK / "records.jsonl"
    rows = [
        {"instruction": instruction, "response": response, "criterion": criterion}
        for instruction, response, criterion in product(
            ("Name the largest planet of the solar system.", "Name a prime."), RESPONSES, ("correctness", "fluency")
        )
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def grade(python: list[str], judges: Path, records: Path) -> dict[str, Any]:
    """What grade.py prints under a Python."""
    command = [*python, str(GRADE), str(judges), str(records)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def arm64() -> str:
    """A Debian for ARM64, unpacked, and beside it the wheels that scoring needs; returns the PYTHONPATH of both."""
    wheels = WORK / "arm64-wheels"
    if not (ARM / "usr/bin/python3.11").exists():
        packages = "python3-minimal,libpython3-stdlib,libstdc++6"
        options = ["--arch=arm64", "--foreign", "--variant=minbase", f"--include={packages}"]
        subprocess.run(["debootstrap", *options, "bookworm", str(ARM)], check=True, stdout=subprocess.DEVNULL)
        for package in (ARM / "var/cache/apt/archives").glob("*.deb"):  # its second stage would need a kernel for ARM64
            subprocess.run(["dpkg-deb", "--extract", package, ARM], check=True)
    (ARM / "proc").mkdir(exist_ok=True)
    if not wheels.exists():
        platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 34)]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(wheels), "--only-binary=:all:",
             "--python-version=3.11", *platforms, "--platform=manylinux2014_aarch64",
             "--constraint", str(ROOT / "constraints.txt"), *NEEDED],
            check=True,
        )  # fmt: skip
    return f"{wheels}:{ROOT / 'src'}"


if __name__ == "__main__":
    sys.exit(main())
