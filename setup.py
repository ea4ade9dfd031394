"""Builds the compiled core once per instruction-set level; everything else is in pyproject.toml.

Environment variables read here, all for people who build from source:

LIGHTFM_FAST_NO_OPENMP=1
    Build a single-threaded core, for compilers without OpenMP.
LIGHTFM_FAST_LEVELS=baseline,x86_64_v3
    Build these levels only, for quick or sanitised developer builds. The baseline is always among them.

Compiler flags go in CFLAGS, CXXFLAGS and LDFLAGS, as everywhere. There is no debug information unless they ask for it,
since it takes as long to compile as the code, and nine times the space.
"""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

# One module for Python 3.11 and all later versions: the stable ABI has the buffers of memory views since 3.11. A Python
# without the GIL has no stable ABI.
STABLE_ABI = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 11)
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
CPU = "src/cpu.pyx"
SHARED = "lightfm_fast._core._shared"  # what Cython writes into every module otherwise: the classes of memory views
MODULES = ("machine", "engine", "ranking", "hooks", "columns")  # those that compile longest first
SELDOM_RUN = ("hooks", "_cpu", "_shared")  # compiled in less time
INSTANCES = "src/instances.cpp"
N_SHARES = 3  # kShares of src/kernels/dispatch.hpp
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*[<"]([^">]+)[">]', re.MULTILINE)
CYTHON_DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}

COMMON_FLAGS = {
    # -ffp-contract=fast is GCC's default. Clang would not fuse a product and a sum across the vectors' operators.
    "unix": [
        "-O3",
        "-std=c++17",
        "-ffp-contract=fast",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        # GCC 12 warns thousands of times of its own AVX-512 header.
        "-Wno-uninitialized",
        "-Wno-maybe-uninitialized",
    ],
    "msvc": ["/O2", "/std:c++17"],
}
# Features one by one, since compilers before GCC 11 and clang 12 do not know -march=x86-64-v3 and -v4.
V3_FEATURES = ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe", "-mpopcnt", "-mcx16"]
V4_FEATURES = [*V3_FEATURES, "-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl"]
LEVEL_FLAGS = {
    "unix": {"baseline": [], "x86_64_v3": V3_FEATURES, "x86_64_v4": V4_FEATURES},
    "msvc": {"baseline": [], "x86_64_v3": ["/arch:AVX2"], "x86_64_v4": ["/arch:AVX512"]},
}

LIBOMP_FOLDERS = [folder for folder in ("/opt/homebrew/opt/libomp", "/usr/local/opt/libomp") if Path(folder).is_dir()]
# Pairs of compile and link flags, tried in turn; the second is Apple's clang with libomp from Homebrew.
OPENMP_FLAGS = {
    "unix": [
        (["-fopenmp"], ["-fopenmp"]),
        (
            ["-Xpreprocessor", "-fopenmp", *(f"-I{folder}/include" for folder in LIBOMP_FOLDERS)],
            [*(f"-L{folder}/lib" for folder in LIBOMP_FOLDERS), "-lomp"],
        ),
    ],
    "msvc": [(["/openmp"], [])],
}
OPENMP_PROBE = """
#include <omp.h>
int count_threads() {
    int count = 0;
#pragma omp parallel reduction(+ : count)
    count += omp_get_num_threads() > 0;
    return count;
}
"""
OPENMP_MISSING = """
lightfm_fast: this C++ compiler cannot build OpenMP programs, which training on several threads needs.
Install it and build again:
    Debian, Ubuntu: apt-get install g++ (or libomp-dev for clang)
    Fedora:         dnf install gcc-c++ (or libomp-devel for clang)
    macOS:          brew install libomp
    conda:          conda install cxx-compiler
Or build a single-threaded library: set LIGHTFM_FAST_NO_OPENMP=1.
"""


def levels_to_build() -> list[str]:
    """Instruction-set levels of the target machine, lowest first, less those that the environment omits."""
    # get_platform, not platform.machine: it names the target where wheels are built for another machine.
    is_x86_64 = sysconfig.get_platform().endswith(("x86_64", "amd64")) and sys.maxsize > 2**32
    available = list(LEVEL_FLAGS["unix"]) if is_x86_64 else ["baseline"]
    wanted = os.environ.get("LIGHTFM_FAST_LEVELS")
    if not wanted:
        return available
    names = {"baseline", *(name.strip() for name in wanted.split(","))}
    if unknown := names.difference(available):
        raise SystemExit(f"LIGHTFM_FAST_LEVELS names {sorted(unknown)}; this machine has {available}")
    return [level for level in available if level in names]


@dataclass
class Unit:
    """One run of the C++ compiler: a source, or a share of one, for an instruction-set level."""

    extension: Extension
    name: str
    source: str
    macros: list[tuple[str, str]]
    objects: list[str] = field(default_factory=list)
    key: str = ""  # a hash of all that the object depends on


class BuildCore(build_ext):
    """Translates every .pyx once, and compiles units of C++ for every level meanwhile, one at a time on each processor.

    A unit is compiled again only if its flags or the text of a file that it includes have changed, whatever the time of
    the files: pip unpacks Cython anew for each wheel, and version control writes files anew.
    """

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or usable_processors()
        if self.editable_mode:
            # setuptools would build in a folder that it throws away: any change would compile everything.
            build = self.get_finalized_command("build")
            folder = f"{self.plat_name}-{sys.implementation.cache_tag}"
            self.build_lib = os.path.join(build.build_base, f"lib.{folder}")
            self.build_temp = os.path.join(build.build_base, f"temp.{folder}")

    def build_extensions(self):
        family = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        compile_openmp, link_openmp = self.find_openmp(family)
        for extension in self.extensions:
            extension.extra_compile_args += (
                COMMON_FLAGS[family] + LEVEL_FLAGS[family][level_of(extension)] + compile_openmp + debug_flags(family)
            )
            if family == "unix" and extension.name.rpartition(".")[2] in SELDOM_RUN:
                extension.extra_compile_args.append("-O1")
            extension.extra_link_args += link_openmp
            extension.define_macros.append(("LIGHTFM_FAST_OPENMP", str(int(bool(compile_openmp)))))
            if STABLE_ABI:
                extension.define_macros.append(("Py_LIMITED_API", "0x030B0000"))

        self.n_units = sum(1 + len(shares_of(extension)) for extension in self.extensions)
        self.n_done = 0
        units = []
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                jobs = []

                def start(*unit):
                    units.append(Unit(*unit))
                    jobs.append(pool.submit(self.compile, units[-1]))

                # The largest units first, so that no processor waits at the end. They need no translation.
                for extension in self.extensions:
                    for share in shares_of(extension):
                        macros = [("LIGHTFM_FAST_SHARE", str(share))]
                        start(extension, f"instances_{share}", INSTANCES, macros)
                for source in dict.fromkeys(extension.sources[0] for extension in self.extensions):
                    translated = self.write_shared() if source == SHARED else self.translate(source)
                    for extension in self.extensions:
                        if extension.sources[0] == source:
                            start(extension, Path(translated).stem, translated, [])
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for extension in self.extensions:
            self.link(extension, [unit for unit in units if unit.extension is extension])

    def translate(self, source: str) -> str:
        """Translate a .pyx to C++; returns the path of the translation."""
        import Cython
        from Cython.Build import cythonize

        folder = Path(self.get_finalized_command("build").build_base, "cython")
        target = folder / Path(source).with_suffix(".cpp")
        sources = [source, *(path.as_posix() for path in sorted(Path("src").glob("*.pxd")))]
        key = hash_of(Cython.__version__, CYTHON_DIRECTIVES, *(Path(path).read_bytes() for path in sources))
        if self.force or not is_fresh(target, key):
            self.say(f"translating {source}")
            # One name for all levels: the init function, all that must fit, is named by the last part.
            name = "_cpu" if source == CPU else Path(source).stem
            cythonize(
                [Extension(f"lightfm_fast._core.{name}", [source], language="c++")],
                build_dir=os.fspath(folder),
                include_path=["src"],
                compiler_directives=CYTHON_DIRECTIVES,
                shared_utility_qualified_name=SHARED,
                force=True,
                quiet=True,
            )
            record(target, key)
        return os.fspath(target)

    def write_shared(self) -> str:
        """Write the module of the code that all translations share; returns its path."""
        import Cython

        target = Path(self.get_finalized_command("build").build_base, "cython", f"{SHARED.rpartition('.')[2]}.cpp")
        key = hash_of(Cython.__version__)
        if self.force or not is_fresh(target, key):
            target.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "cython", "--cplus", "-3", f"--generate-shared={target}"]
            subprocess.run(command, check=True)
            record(target, key)
        return os.fspath(target)

    def compile(self, unit: Unit):
        extension = unit.extension
        arguments = {
            "macros": extension.define_macros + unit.macros,
            "include_dirs": extension.include_dirs,
            "extra_postargs": extension.extra_compile_args,
        }
        unit.key = hash_of(self.compiler_command(), arguments, *texts_of(Path(unit.source)))
        folder = os.path.join(self.build_temp, level_of(extension), unit.name)
        # Relative paths, since the compiler's class puts the path of the source below the folder.
        unit.objects = self.compiler.object_filenames([unit.source], output_dir=folder)
        started = time.monotonic()
        fresh = not self.force and is_fresh(Path(unit.objects[0]), unit.key)
        if not fresh:
            self.compiler.compile([unit.source], output_dir=folder, **arguments)
            record(Path(unit.objects[0]), unit.key)
        self.n_done += 1
        if not fresh:
            seconds = time.monotonic() - started
            self.say(f"[{self.n_done}/{self.n_units}] {unit.name} for {level_of(extension)}, {seconds:.0f} s")

    def link(self, extension: Extension, units: list[Unit]):
        target = Path(self.get_ext_fullpath(extension.name))
        remove_former(target)
        key = hash_of(extension.extra_link_args, *(unit.key for unit in units))
        stamp = Path(self.build_temp, level_of(extension), target.name)
        if target.is_file() and not self.force and is_fresh(stamp, key):
            return
        self.compiler.link_shared_object(
            [path for unit in units for path in unit.objects],
            os.fspath(target),
            libraries=self.get_libraries(extension),
            library_dirs=extension.library_dirs,
            runtime_library_dirs=extension.runtime_library_dirs,
            extra_postargs=extension.extra_link_args,
            export_symbols=self.get_export_symbols(extension),
            build_temp=self.build_temp,
            target_lang="c++",
        )
        stamp.touch()
        record(stamp, key)

    def say(self, text: str):
        print(f"lightfm_fast: {text}", flush=True)

    def compiler_command(self) -> list[str]:
        """Return what the compiler's class adds to the flags: the command and the environment's flags."""
        names = ("CC", "CXX", "CPPFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "ARCHFLAGS")
        command = getattr(self.compiler, "compiler_so_cxx", None) or getattr(self.compiler, "compiler_so", [])
        return [*command, *(f"{name}={os.environ.get(name, '')}" for name in names)]

    def copy_extensions_to_source(self):
        for extension in self.extensions:
            folder = Path(*extension.name.split(".")).parent
            folder.mkdir(exist_ok=True)
            remove_former(folder / Path(self.get_ext_fullpath(extension.name)).name)
        super().copy_extensions_to_source()

    def find_openmp(self, family: str) -> tuple[list[str], list[str]]:
        """Compile and link flags that build an OpenMP program with this compiler."""
        if os.environ.get("LIGHTFM_FAST_NO_OPENMP", "0") not in ("", "0"):
            self.warn("LIGHTFM_FAST_NO_OPENMP is set: building lightfm_fast single-threaded, without OpenMP")
            return [], []
        for compile_flags, link_flags in OPENMP_FLAGS[family]:
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "openmp_probe.cpp")
                source.write_text(OPENMP_PROBE)
                try:
                    objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
                    self.compiler.link_shared_object(
                        objects,
                        os.path.join(folder, "openmp_probe.so"),
                        extra_postargs=link_flags,
                        target_lang="c++",
                    )
                except (CompileError, LinkError):
                    continue
            return compile_flags, link_flags
        raise SystemExit(OPENMP_MISSING)


def usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hash_of(*parts: object) -> str:
    """Return a hash of bytes, and of the representations of other objects."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def is_fresh(target: Path, key: str) -> bool:
    """Whether a file was made from what has this key."""
    stamp = target.with_name(f"{target.name}.key")
    return target.is_file() and stamp.is_file() and stamp.read_text() == key


def record(target: Path, key: str):
    target.with_name(f"{target.name}.key").write_text(key)


def remove_former(target: Path):
    """Remove the module that an earlier version built for this Python alone, which would be imported instead."""
    former = target.with_name(target.name.partition(".")[0] + sysconfig.get_config_var("EXT_SUFFIX"))
    if former != target:
        former.unlink(missing_ok=True)


def texts_of(source: Path) -> list[bytes]:
    """Return the text of a file and of all files of src/ that it includes, themselves or through others."""
    texts = {source: source.read_bytes()}
    unread = [source]
    while unread:
        path = unread.pop()
        for name in INCLUDE.findall(texts[path]):
            for folder in (path.parent, Path("src")):
                included = Path(os.path.normpath(folder / name.decode()))
                if included not in texts and included.is_file():
                    texts[included] = included.read_bytes()
                    unread.append(included)
    return [texts[path] for path in sorted(texts)]


def shares_of(extension: Extension) -> range:
    """Return the shares of the losses' instances that a module holds."""
    return range(N_SHARES if extension.name.endswith(".engine") else 0)


def debug_flags(family: str) -> list[str]:
    """Return flags that omit debug information, which Python's own flags ask for, unless the environment asks too."""
    asked = f"{os.environ.get('CFLAGS', '')} {os.environ.get('CXXFLAGS', '')}".split()
    return [] if family == "msvc" or any(flag.startswith("-g") for flag in asked) else ["-g0"]


def level_of(extension: Extension) -> str:
    """Level that an extension is compiled for: the name of its folder, else the baseline."""
    folder = extension.name.split(".")[-2]
    return folder if folder in LEVEL_FLAGS["unix"] else "baseline"


def extensions(levels: list[str]) -> list[Extension]:
    """Return the modules of every level, and the module that chooses the level to load."""
    options = {"language": "c++", "include_dirs": ["src"], "py_limited_api": STABLE_ABI}
    return [
        *(
            Extension(f"lightfm_fast._core.{level}.{module}", [f"src/{module}.pyx"], **options)
            for module in MODULES
            for level in reversed(levels)
        ),
        Extension(SHARED, [SHARED], **options),
        Extension(
            "lightfm_fast._core._cpu", [CPU], define_macros=[("LIGHTFM_FAST_LEVELS", ",".join(levels))], **options
        ),
    ]


setup(
    ext_modules=extensions(levels_to_build()),
    cmdclass={"build_ext": BuildCore},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
