"""Builds the compiled core once per instruction-set level; everything else is in pyproject.toml.

Environment variables read here, all for people who build from source:

LIGHTFM_FAST_NO_OPENMP=1
    Build a single-threaded core, for compilers without OpenMP.
LIGHTFM_FAST_LEVELS=baseline,x86_64_v3
    Build these levels only, for quick or sanitised developer builds. The baseline is always among them.

Compiler flags go in CFLAGS, CXXFLAGS and LDFLAGS, as everywhere. There is no debug information unless they ask for it,
since it takes as long to compile as the code, and nine times the space.
"""

import copy
import hashlib
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

MODULES = ("engine", "machine", "ranking", "columns", "hooks")
CYTHON_DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}

COMMON_FLAGS = {
    # -ffp-contract=fast is GCC's default. Clang would not fuse a product and a sum across the vectors' operators.
    "unix": ["-O3", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"],
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


class BuildCore(build_ext):
    """Translates every .pyx once, then compiles the C++ once per level, two at a time."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or 2
        if self.editable_mode:
            # setuptools would build in a folder that it throws away: any change would compile everything.
            build = self.get_finalized_command("build")
            folder = f"{self.plat_name}-{sys.implementation.cache_tag}"
            self.build_lib = os.path.join(build.build_base, f"lib.{folder}")
            self.build_temp = os.path.join(build.build_base, f"temp.{folder}")

    def build_extensions(self):
        family = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        compile_openmp, link_openmp = self.find_openmp(family)
        settings = self.settings(compile_openmp + link_openmp)
        settings_file = Path(self.build_temp, "settings.txt")
        if not settings_file.is_file() or settings_file.read_text() != settings:
            self.force = self.compiler.force = True

        translated = self.translate()
        for extension in self.extensions:
            extension.sources = [translated[source] for source in extension.sources]
            extension.extra_compile_args += (
                COMMON_FLAGS[family] + LEVEL_FLAGS[family][level_of(extension)] + compile_openmp + debug_flags(family)
            )
            extension.extra_link_args += link_openmp
            extension.define_macros.append(("LIGHTFM_FAST_OPENMP", str(int(bool(compile_openmp)))))
        super().build_extensions()
        settings_file.write_text(settings)

    def build_extension(self, ext):
        # Levels share their sources, so each needs a folder for its objects; a copy, since two threads build.
        build = copy.copy(self)
        build.build_temp = os.path.join(self.build_temp, level_of(ext))
        super(BuildCore, build).build_extension(ext)

    def copy_extensions_to_source(self):
        for extension in self.extensions:
            Path(*extension.name.split(".")).parent.mkdir(exist_ok=True)
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

    def translate(self) -> dict[str, str]:
        """Translate every .pyx to C++; returns the path of each translation."""
        from Cython.Build import cythonize

        # One name for all levels: the init function, all that must fit, is named by the last part.
        names = {ext.sources[0]: ext.name.rpartition(".")[2] for ext in self.extensions}
        folder = Path(self.get_finalized_command("build").build_base, "cython")
        earlier = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.cpp")}
        extensions = cythonize(
            [Extension(f"lightfm_fast._core.{name}", [source], language="c++") for source, name in names.items()],
            build_dir=os.fspath(folder),
            include_path=["src"],
            compiler_directives=CYTHON_DIRECTIVES,
            force=self.force,
        )
        # pip installs Cython anew for each wheel, and its files are newer than all translations.
        for path, (content, time) in earlier.items():
            if path.read_bytes() == content:
                os.utime(path, ns=(time, time))
        return dict(zip(names, (extension.sources[0] for extension in extensions), strict=True))

    @staticmethod
    def settings(openmp_flags: list[str]) -> str:
        """Return the settings that change the compiled modules without changing a source file."""
        names = ["CC", "CXX", "CPPFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "ARCHFLAGS", "LIGHTFM_FAST_LEVELS"]
        lines = [f"{name}={os.environ.get(name, '')}" for name in names]
        lines.append(f"openmp={' '.join(openmp_flags)}")
        lines.append(f"setup.py={hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}")
        return "\n".join(lines)


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
    headers = sorted(path.as_posix() for path in Path("src").rglob("*.hpp"))
    headers += sorted(path.as_posix() for path in Path("src").rglob("*.pxd"))
    options = {"language": "c++", "include_dirs": ["src"], "depends": headers}
    return [
        Extension(
            "lightfm_fast._core._cpu",
            ["src/cpu.pyx"],
            define_macros=[("LIGHTFM_FAST_LEVELS", ",".join(levels))],
            **options,
        ),
        *(
            Extension(f"lightfm_fast._core.{level}.{module}", [f"src/{module}.pyx"], **options)
            for module in MODULES
            for level in levels
        ),
    ]


setup(ext_modules=extensions(levels_to_build()), cmdclass={"build_ext": BuildCore})
