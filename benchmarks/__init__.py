"""Benchmarks that pair this library with what a user would pick instead; README.md tells what each shows."""
