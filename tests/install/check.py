#!/usr/bin/env python3
"""Installs the library and looks at it as a program outside the project does.

    check.py SOURCE BUILD VERSION CC... [-- CXX...]

Two installations, each under a DESTDIR of its own: BUILD as it is, and one with every option off.
With each: a consumer built by pkg-config, shared and static, in C11 and C++17, and run.  With the
first: every header alone in both languages; the layout of every public struct from both; what the
shared library exports against symbols.txt and against the headers; its name; the static library's
global names.  The same for libtocsin-uv, where it was built.  And each option off alone is built,
unoptimised, one after the other in one folder.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Wshadow", "-Wconversion", "-Werror"]
# What each option is as a rule, and off.  In this order little is compiled again for the next.
OPTIONS = {"uring": ("auto", "disabled"), "examples": ("true", "false"), "bench": ("true", "false"),
           "cmocka": ("auto", "disabled"), "glib": ("auto", "disabled"),
           "uv": ("auto", "disabled"), "tests": ("true", "false")}
OPTIONS_OFF = [f"-D{name}={off}" for name, (_, off) in OPTIONS.items()]
# Declared for those who write plugins: libtocsin-uv does, libtocsin does not.
PLUGIN = {"tocsin_backend_plugin"}
# The header of libtocsin-uv.
UV_HEADER = "uv.h"
WINDOWS_HEADER = "windows.h"  # installed there alone

passed = failed = 0


def check(name, holds, why=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"not ok: {name}" + (f"\n    {why.strip()}" if why else ""))


def run(*command, **environment):
    """(succeeded, output)"""
    ran = subprocess.run([str(part) for part in command], check=False, text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, env={**os.environ, **environment})
    return ran.returncode == 0, ran.stdout


class Language:
    def __init__(self, name, compiler, standard, suffix):
        self.name, self.suffix = name, suffix
        self.compile = [*compiler, "-x", suffix, f"-std={standard}", "-D_GNU_SOURCE", *WARNINGS]


class Installation:
    """What `meson install` put under @root."""

    def __init__(self, root):
        self.root = root
        self.pc = next(root.rglob("tocsin.pc"))
        self.lib = self.pc.parent.parent
        self.headers = next(root.rglob("tocsin/base.h")).parent
        self.has_uv = (self.pc.parent / "tocsin-uv.pc").exists()

    def flags(self, *options, packages=("tocsin",)):
        # Found first, here; what it requires (liburing) is the system's.
        environment = {"PKG_CONFIG_PATH": str(self.pc.parent),
                       "PKG_CONFIG_SYSROOT_DIR": str(self.root)}
        succeeded, output = run("pkg-config", *options, *packages, **environment)
        return shlex.split(output) if succeeded else ["pkg-config-failed"]


def install(build, root):
    succeeded, output = run("meson", "install", "-C", build, "--no-rebuild", "--quiet",
                            "--destdir", root)
    check(f"install of {build.name}", succeeded, output)
    return Installation(root) if succeeded else None


def consumers(label, installation, languages, source, scratch, version):
    wanted = f"{version} {version}\n"
    for language in languages:
        for linkage in ("shared", "static"):
            name = f"{label}: {linkage} consumer in {language.name}"
            program = scratch / f"consumer-{linkage}-{language.suffix}"
            static = ["--static"] if linkage == "static" else []
            # The language is not that of the libraries that follow.
            succeeded, output = run(
                *language.compile, *installation.flags(*static, "--cflags"),
                source / "tests/install/consumer.c", "-x", "none", *(["-static"] if static else []),
                "-o", program, *installation.flags(*static, "--libs"))
            check(name + " builds", succeeded, output)
            if succeeded:
                _, output = run(program, LD_LIBRARY_PATH=str(installation.lib))
                check(name + " runs", output == wanted, output)
                _, needed = run("readelf", "-d", program)
                check(name + " is linked so",
                      ("libtocsin.so.0" in needed) == (linkage == "shared"), needed)


def uv_consumers(installation, languages, source, scratch, version):
    """Against libtocsin-uv: shared, and with our static libraries; libuv itself is shared."""
    for language in languages:
        for linkage in ("shared", "static"):
            name = f"{linkage} consumer of libtocsin-uv in {language.name}"
            program = scratch / f"consumer-uv-{linkage}-{language.suffix}"
            packages = ("tocsin-uv", "libuv")
            static = ["--static"] if linkage == "static" else []
            libraries = installation.flags(*static, "--libs", packages=packages)
            if static:
                libraries = [re.sub(r"^-l(tocsin(-uv)?)$", r"-l:lib\1.a", flag)
                             for flag in libraries]
            succeeded, output = run(
                *language.compile, *installation.flags("--cflags", packages=packages),
                source / "tests/install/consumer_uv.c", "-x", "none", "-o", program, *libraries)
            check(name + " builds", succeeded, output)
            if succeeded:
                succeeded, output = run(program, LD_LIBRARY_PATH=str(installation.lib))
                check(name + " runs", succeeded and output == f"{version}\n", output)
                _, needed = run("readelf", "-d", program)
                check(name + " is linked so", "libuv.so" in needed and all(
                    (library in needed) == (linkage == "shared")
                    for library in ("libtocsin.so.0", "libtocsin-uv.so.0")), needed)


def compat(installation, languages, source, scratch):
    """libvpoll's header over ours: alone in both languages, and under a program for it."""
    flags = installation.flags("--cflags", packages=("tocsin-compat",))
    for language in languages:
        unit = scratch / "compat.c"
        unit.write_text("#include <vpoll.h>\nextern int nothing;\n")
        succeeded, output = run(*language.compile, "-Wno-unused-function", "-fsyntax-only", *flags,
                                unit)
        check(f"vpoll.h of tocsin-compat alone in {language.name}", succeeded, output)
    program = scratch / "libvpoll"
    succeeded, output = run(
        *languages[0].compile[:-len(WARNINGS)], "-w", *flags,
        source / "tests/vpoll/programs/libvpoll.txt", "-x", "none", "-o", program,
        *installation.flags("--libs", packages=("tocsin-compat",)))
    check("a program for libvpoll builds over tocsin-compat", succeeded, output)


def needed_by(library):
    return set(re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", library)[1]))


def uv_apart(installation, version):
    """libtocsin never needs libuv; what does needs libtocsin as anybody would."""
    core = needed_by(installation.lib / f"libtocsin.so.{version}")
    check("libtocsin does not need libuv", not any("uv" in name for name in core), " ".join(core))
    if installation.has_uv:
        ours = needed_by(installation.lib / f"libtocsin-uv.so.{version}")
        check("libtocsin-uv needs libuv and libtocsin",
              {"libuv.so.1", "libtocsin.so.0"} <= ours, " ".join(ours))


def headers_alone(installation, languages, scratch):
    for header in sorted(installation.headers.glob("*.h")):
        for language in languages:
            unit = scratch / "alone.c"
            unit.write_text(f"#include <tocsin/{header.name}>\n"
                            f"#include <tocsin/{header.name}>\nextern int nothing;\n")
            succeeded, output = run(*language.compile, "-fsyntax-only",
                                    *installation.flags("--cflags"), unit)
            check(f"{header.name} alone in {language.name}", succeeded, output)


def read_headers(headers):
    """Public headers as one text, without comments."""
    text = "\n".join(path.read_text() for path in sorted(headers))
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def structs(text):
    """(name, [field ...]) of every public struct."""
    for match in re.finditer(r"^struct (\w+) \{\n(.*?)^\};", text, re.S | re.M):
        fields = []
        for declaration in match[2].split(";"):
            declaration = " ".join(declaration.split())
            declaration = re.sub(r"TOCSIN_ATOMIC\([^()]*\)", "atomic", declaration)
            if not declaration:
                continue
            pointer = re.match(r"[^(]*\(\*(\w+)\)\(", declaration)
            plain = re.fullmatch(r".*?(\w+)(?:\[\w+\])?", declaration)
            fields.append((pointer or plain)[1])
        yield match[1], fields


def layout(installation, languages, text, scratch):
    """Size, alignment and the place and size of each field, from both languages."""
    names = sorted(path.name for path in installation.headers.glob("*.h"))
    rows = []
    for name, fields in structs(text):
        rows.append(f'    printf("{name} %zu %zu\\n", '
                    f"sizeof(struct {name}), ALIGN(struct {name}));")
        for field in fields:
            rows.append(f'    printf("{name}.{field} %zu %zu\\n", '
                        f"offsetof(struct {name}, {field}), "
                        f"sizeof(((struct {name} *)0)->{field}));")
    unit = scratch / "layout.c"
    unit.write_text("\n".join([
        "#include <stddef.h>", "#include <stdio.h>",
        *(f"#include <tocsin/{name}>" for name in names),
        "#ifdef __cplusplus", "#define ALIGN(T) alignof(T)", "#else",
        "#define ALIGN(T) _Alignof(T)", "#endif", "int main(void)", "{", *rows,
        "    return 0;", "}", ""]))
    tables = []
    for language in languages:
        program = scratch / f"layout-{language.suffix}"
        succeeded, output = run(*language.compile, *installation.flags("--cflags"), unit, "-o",
                                program)
        check(f"layout in {language.name} compiles", succeeded, output)
        tables.append(run(program)[1].splitlines() if succeeded else [])
    check("structs with atomics were looked at",
          any(row.startswith("tocsin_task.state_ ") for row in tables[0]), "no tocsin_task.state_")
    if len(tables) == 2:
        for first, second in zip(*tables):
            check(f"layout of {first.split()[0]}", first == second, f"C: {first}; C++: {second}")
        check("both languages see as many fields", len(tables[0]) == len(tables[1]))


def symbols(installation, name, text, listing, version, plugin=frozenset()):
    """What lib@name exports: @listing, what @text declares, and @plugin."""
    library = installation.lib / f"lib{name}.so.{version}"
    _, dynamic = run("nm", "-D", "--defined-only", library)
    exported = {line.split()[2].split("@")[0] for line in dynamic.splitlines()}
    declared = set()
    for match in re.finditer(r"^TOCSIN_API\b([^;]*);", text, re.M):
        declared.add(re.search(r"(\w+)\s*\(", match[1])[1])
    declared = declared - PLUGIN | set(plugin)
    listed = set(listing.read_text().split())

    def compare(what, left, right):
        check(f"{name}: {what}", not left - right, " ".join(sorted(left - right)))

    compare(f"what is exported is in {listing.name}", exported, listed)
    compare(f"what is in {listing.name} is exported", listed, exported)
    compare("what is exported is declared TOCSIN_API", exported, declared)
    compare("what is declared TOCSIN_API is exported", declared, exported)

    _, table = run("readelf", "-d", library)
    soname = re.search(r"SONAME.*\[(.*)\]", table)
    check(f"the soname is lib{name}.so.0", bool(soname) and soname[1] == f"lib{name}.so.0", table)
    for link, target in ((f"lib{name}.so", f"lib{name}.so.0"), (f"lib{name}.so.0", library.name)):
        path = installation.lib / link
        check(f"{link} leads to {target}", path.is_symlink() and os.readlink(path) == target)

    _, table = run("nm", "-g", "--defined-only", installation.lib / f"lib{name}.a")
    alien = {fields[2] for fields in map(str.split, table.splitlines())
             if len(fields) == 3 and not fields[2].startswith("tocsin_")}
    check(f"global names of lib{name}.a begin with tocsin_", not alien, " ".join(sorted(alien)))


def each_option_off(source, cc, folder):
    """One folder, so that what an option does not touch is compiled once."""
    jobs = len(os.sched_getaffinity(0))
    command = ["setup", folder, source, "--werror", "-Doptimization=0", "-Ddebug=false"]
    for name, (rule, off) in OPTIONS.items():
        succeeded, output = run("meson", *command, f"-D{name}={off}", CC=shlex.join(cc))
        check(f"setup with {name} off", succeeded, output)
        if not succeeded:
            return
        succeeded, output = run("ninja", "-C", folder, "-j", jobs)
        check(f"build with {name} off", succeeded, output)
        command = ["configure", folder, f"-D{name}={rule}"]


def main():
    source, build, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    cc, cxx = sys.argv[4:], []
    if "--" in cc:
        cc, cxx = cc[:cc.index("--")], cc[cc.index("--") + 1:]
    languages = [Language("C11", cc, "c11", "c")]
    if cxx:
        languages.append(Language("C++17", cxx, "c++17", "c++"))

    with tempfile.TemporaryDirectory(prefix="tocsin-install-") as folder:
        scratch = Path(folder)
        full = install(build, scratch / "full")
        if full:
            headers = set(full.headers.glob("*.h"))
            core = {path for path in headers if path.name != UV_HEADER}
            expected = {path.name for path in (source / "include/tocsin").glob("*.h")}
            check("headers were installed", {path.name for path in headers} ==
                  expected - (set() if full.has_uv else {UV_HEADER}) - {WINDOWS_HEADER})
            consumers("every option on", full, languages, source, scratch, version)
            headers_alone(full, languages, scratch)
            layout(full, languages, read_headers(core), scratch)
            symbols(full, "tocsin", read_headers(core), source / "tests/install/symbols.txt",
                    version)
            compat(full, languages, source, scratch)
            uv_apart(full, version)
            if full.has_uv:
                uv_consumers(full, languages, source, scratch, version)
                symbols(full, "tocsin-uv", read_headers(headers - core),
                        source / "tests/install/symbols_uv.txt", version, PLUGIN)

        bare = scratch / "bare"
        succeeded, output = run("meson", "setup", bare, source, "--werror", *OPTIONS_OFF,
                                CC=shlex.join(cc))
        check("setup with every option off", succeeded, output)
        if succeeded:
            succeeded, output = run("ninja", "-C", bare, "-j", len(os.sched_getaffinity(0)))
            check("build with every option off", succeeded, output)
        if succeeded:
            least = install(bare, scratch / "least")
            if least:
                consumers("every option off", least, languages, source, scratch, version)

        each_option_off(source, cc, scratch / "each")

    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
