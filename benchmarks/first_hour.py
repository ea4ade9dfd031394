"""The new user's job in a bare environment: install a wheel, then run the first hour, and time each step.

It runs the commands of docs/command_line.md and the script examples/first_hour.py, on CSV files of MovieLens 100K. It
needs the package registry; ``make first-hour`` builds a wheel of this tree and runs it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness

ROOT = Path(__file__).parents[1]
EXTRAS = "cli,tune,plot,serve"


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    wheel = options.wheel.resolve(strict=True)
    options.wheel = wheel.name  # as the results show it
    machine = harness.machine()
    harness.print_machine(machine)
    with tempfile.TemporaryDirectory() as folder, Hour(Path(folder)) as hour:
        hour.run(f"'{sys.executable}' -m venv bare", "make an environment with nothing in it")
        size = f"{wheel.stat().st_size / 1e6:.0f} MB"
        hour.run(f"python -m pip install '{wheel}'", f"install the wheel ({size}), NumPy, SciPy and narwhals")
        hour.run("python -c 'import lightfm_fast'", "import it for the first time")
        hour.run(f"python -m pip install '{wheel}[{EXTRAS}]' pandas", f"install the extras {EXTRAS}, and pandas")
        hour.run(f"python '{ROOT / 'examples' / 'movielens_csv.py'}'", "write the CSV files")
        for number, command in enumerate(commands(), start=1):
            words = command.split()
            hour.run(command, f"{number}. `{' '.join(words[: 1 + (words[0] == 'lightfm-fast')])}`")
        hour.run(f"python '{ROOT / 'examples' / 'first_hour.py'}'", "`python first_hour.py`")
    harness.save(options.json, machine, options, hour.steps)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="a wheel for this Python")
    parser.add_argument("--json", type=Path, help="save the results here, as benchmarks/results/NAME.json")
    return parser.parse_args(arguments)


def commands() -> list[str]:
    """Return the commands of the first hour, as the page on the command line shows them."""
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## The first hour\n.*?^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return re.findall(r"(?:.*\\\n)*.+", block)


class Hour:
    """Runs one step after another in a folder, by the programs of its environment ``bare``, and notes their seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment["PATH"] = f"{folder / 'bare' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment |= {"MPLBACKEND": "Agg", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self._service: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Hour:
        return self

    def __exit__(self, *error: object) -> None:
        if self._service is not None:
            self._service.terminate()
            self._service.wait()

    def run(self, command: str, step: str) -> None:
        """Run a command of the shell. A command that ends in ``&`` runs until the last step has ended."""
        if command.endswith("&"):
            started = ["bash", "-c", f"exec {command.removesuffix('&')}"]
            self._service = subprocess.Popen(started, cwd=self.folder, env=self.environment)
            return
        started_at = time.perf_counter()
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started_at
        if done.returncode:
            raise SystemExit(f"{command}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.steps.append({"step": step, "seconds": seconds})
        print(f"{seconds:6.1f} s  {step}", flush=True)


if __name__ == "__main__":
    main()
