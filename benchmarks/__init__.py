"""Benchmarks that pair this library with what a user would pick instead; README.md tells what each shows."""

import os

# The sides take turns in one process: threads of one that spin after its turn would take the other's cores. OpenMP
# reads this when it is loaded, so it is set before anything is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
