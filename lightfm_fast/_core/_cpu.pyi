levels_built: tuple[str, ...]
levels_supported: tuple[str, ...]
openmp: bool
compiler: str

def max_threads() -> int: ...
