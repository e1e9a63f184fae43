"""Lock what pyproject.toml asks for, with hashes: `make lock`.

Versions that are locked stay, as far as pyproject.toml allows. Others come by uv's own options:
`make lock UPGRADE=--upgrade`, or `make lock UPGRADE="--upgrade-package dvc"`.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
PYPROJECT = FOLDER.parent / "pyproject.toml"
CONTENT = {
    "build": "setuptools, with which cf and packages without a wheel are built.",
    "runtime": "pyproject.toml's dependencies and its extra fast.",
    "dev": "What the group dev needs besides runtime.txt.",
    "bench": "All of the environment of `make peers`. LensKit needs pandas 2.",
    "ray": "What `launcher: ray` needs besides runtime.txt.",
    "cuda": "What PyPI's torch for Linux needs besides; that of cpu.txt does not.",
}
HEADER = """\
# {content}
# Made by `make lock`, for all systems. Installed by `make`, after build.txt, with --no-deps and
# --no-build-isolation, so that nothing comes in without its hash. ANTLR is published without wheel.
--only-binary :all:
--no-binary antlr4-python3-runtime
"""
CUDA = ("cuda-", "nvidia-", "triton==")


def blocks(lock: str) -> list[str]:
    """The packages of a lock, each with its hashes."""
    return re.findall(r"^[a-z0-9].*\n(?: .*\n)*", lock, re.MULTILINE)


def resolve(*options: str, keep: str, overrides: str = "") -> list[str]:
    """The packages that uv finds for all systems, with the versions of `keep` where it can."""
    with tempfile.TemporaryDirectory() as temporary:
        found, override = Path(temporary, "found.txt"), Path(temporary, "overrides.txt")
        found.write_text(re.sub(r" \\\n +--hash=\S+", "", keep))  # its hashes are asked anew
        override.write_text(overrides)
        command = "uv pip compile --quiet --universal --python-version 3.11 --generate-hashes"
        command += f" --no-header --no-annotate --overrides {override} --output-file {found}"
        subprocess.run([*command.split(), str(PYPROJECT), "--extra", "fast", *options], check=True)
        return blocks(found.read_text())


def write(name: str, packages: list[str]) -> None:
    """Write a lock."""
    text = HEADER.format(content=CONTENT[name]) + "".join(packages)
    path = FOLDER / f"{name}.txt"
    if not path.exists() or path.read_text() != text:  # else make would install all of it anew
        path.write_text(text)


def main(options: list[str]) -> None:
    """Write all locks."""
    paths = {name: FOLDER / f"{name}.txt" for name in CONTENT}
    before = {name: path.read_text() for name, path in paths.items() if path.exists()}
    locked = "".join(before.get(name, "") for name in ("runtime", "dev", "cuda"))
    both = resolve("--group", "dev", *options, keep=locked)
    runtime = resolve(keep="".join(both))
    cuda = [block for block in runtime if block.startswith(CUDA)]
    # torchrec asks for the fbgemm of CUDA, and runs by the one of CPUs as well.
    no_cuda = "fbgemm-gpu ; sys_platform == 'none'"
    ray = resolve(
        "--extra", "ray", *options, keep="".join(runtime) + before.get("ray", ""), overrides=no_cuda
    )
    peers = before.get("bench", "") + "".join(cuda)
    bench = resolve("--group", "bench", *options, keep=peers, overrides="pandas<3")
    write("build", [block for block in runtime if block.startswith("setuptools==")])
    write("runtime", [block for block in runtime if block not in cuda])
    write("dev", [block for block in both if block not in runtime])
    write("ray", [block for block in ray if block not in runtime and "fbgemm-gpu==" not in block])
    write("bench", [block for block in bench if not block.startswith(CUDA)])
    write("cuda", cuda)


if __name__ == "__main__":
    main(sys.argv[1:])
