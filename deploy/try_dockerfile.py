"""Runs a Dockerfile's steps on a bare root file system, where no builder exists, and asks the server that they make.

    python deploy/try_dockerfile.py Dockerfile JUDGE_DIR [--mirror URL] [--build-only]

Needs root and Debian's debootstrap. It knows the instructions that these files have, and refuses others.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

HERE = Path(__file__).parent.parent
RECORD = {"instruction": "Name a prime.", "response": "Seven."}
# What this machine needs to reach its registries.
NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")


@dataclass
class Image:
    """What a Dockerfile's steps have made so far."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"
    command: dict[str, list[str]] = field(default_factory=dict)

    def argv(self, *command: str) -> list[str]:
        """A command inside the root file system."""
        given = [f"{name}={value}" for name, value in self.environment.items()]
        inside = [
            "env",
            "-i",
            "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            *given,
        ]
        inside += ["sh", "-c", 'cd "$0" && exec "$@"', self.folder, *command]
        return ["chroot", f"--userspec={self.user}", str(self.root), *inside]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Names and arguments, with continued lines joined and comments left out."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, argument) for name, argument in pairs]


def wanted(context: Path, target: Path) -> None:
    """Copies what .dockerignore lets through."""
    kept = re.findall(r"^!(\S+)", (context / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    for name in kept:
        source = context / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)


def begin(base: str, root: Path, mirror: str) -> None:
    """Makes the bare system that FROM names."""
    suite = re.fullmatch(r"debian:(\w+)-slim", base)
    if not suite:
        raise click.ClickException(f"FROM {base}: only Debian can be made here")
    command = ["debootstrap", "--variant=minbase", suite[1], str(root), mirror]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run(image: Image, command: str) -> None:
    """Runs a command, with what a builder would hand on to reach its registries."""
    for file in NETWORK:
        if Path("/", file).exists():
            (image.root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path("/", file), image.root / file)
    handed_on = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy") or key == "PIP_CERT"}
    inside = Image(image.root, image.environment | handed_on, image.user, image.folder)
    subprocess.run(inside.argv("sh", "-c", command), check=True)


def build(dockerfile: Path, root: Path, mirror: str) -> Image:
    """Follows the steps."""
    image = Image(root)
    for name, argument in instructions(dockerfile):
        click.echo(f"{name} {argument}", err=True)
        match name:
            case "FROM":
                begin(argument, root, mirror)
            case "RUN":
                run(image, argument)
            case "COPY":
                source, target = argument.split()
                wanted(HERE / source, root / target.lstrip("/"))
            case "ENV":
                image.environment |= dict(pair.split("=", 1) for pair in shlex.split(argument))
            case "USER":
                image.user = argument
            case "WORKDIR":
                image.folder = argument
                (root / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "ENTRYPOINT" | "CMD":
                image.command[name] = json.loads(argument)
            case "HEALTHCHECK":
                image.command[name] = json.loads(argument[argument.index("CMD") + 3 :])
            case "EXPOSE":
                pass
            case _:
                raise click.ClickException(f"{name}: not known here")
    return image


def ask(image: Image, judge: Path) -> None:
    """Starts what the image starts, with the judge mounted, and asks for a score."""
    shutil.copytree(judge, image.root / "judge")
    server = subprocess.Popen(image.argv(*image.command["ENTRYPOINT"], *image.command["CMD"]))
    try:
        for _ in range(120):
            if not subprocess.run(
                image.argv(*image.command["HEALTHCHECK"]), check=False, capture_output=True
            ).returncode:
                break
            if server.poll() is not None:
                raise click.ClickException(f"the server ended with {server.returncode}")
            time.sleep(0.5)
        asked = urllib.request.Request("http://127.0.0.1:8000/v1/score", json.dumps(RECORD).encode())
        click.echo(urllib.request.urlopen(asked, timeout=60).read().decode())
    finally:
        server.send_signal(signal.SIGTERM)
        click.echo(f"ended with {server.wait(timeout=60)}")


@click.command()
@click.argument("dockerfile", type=click.Path(exists=True, path_type=Path))
@click.argument("judge", type=click.Path(exists=True, path_type=Path))
@click.option("--mirror", default="http://deb.debian.org/debian")
@click.option("--build-only", is_flag=True, help="Do not start it, such as one for a GPU that is not here.")
def main(dockerfile: Path, judge: Path, mirror: str, build_only: bool) -> None:
    """See the file."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as mounted:
        image = build(dockerfile, Path(folder) / "root", mirror)
        used = subprocess.run(["du", "-sm", str(image.root)], check=True, capture_output=True, text=True).stdout
        click.echo(f"{used.split()[0]} MB")
        for name in ("proc", "dev"):  # as a container has them
            at = str(image.root / name)
            subprocess.run(["mount", "--rbind", f"/{name}", at], check=True)
            mounted.callback(subprocess.run, ["umount", "--lazy", at], check=True)
        if build_only:
            subprocess.run(image.argv("lager", "--version"), check=True)
        else:
            ask(image, judge)


if __name__ == "__main__":
    main()
