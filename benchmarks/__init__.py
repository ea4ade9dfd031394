"""Benchmarks that compare this library with alternatives; README.md describes each."""

import os

# Libraries take turns in one process: threads of one library that spin after its turn would take the other's cores.
# OpenMP reads this variable when it is loaded, so it is set before all imports.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
