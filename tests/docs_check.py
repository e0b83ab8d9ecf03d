#!/usr/bin/env python3
"""Holds the documentation against the code.

  - A ```c block with a main() is a program: it compiles with all warnings, and links.
  - Any other ```c block compiles, at file scope or else as the body of a function.  What it uses
    and does not declare stands in a comment right above: <!-- given: struct tocsin_pool *pool; -->
    A block of shown output, or of pseudo code, says ```text.
  - Every tocsin_... name is one that the headers or the sources know.
  - Every public function is named on a page of docs/.
  - The program in README.md is docs/examples/hello.c, to the letter.
  - Every `./go VERB` is one that go has.
  - Every link to a file leads to one, and to a heading if it names one.

A block that includes <uv.h> or <tocsin/uv.h> is left out where libtocsin-uv was not built.

    docs_check.py [--build FOLDER]      FOLDER has libtocsin.a (build/test-gcc)
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARNINGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
            "-Wshadow", "-Wundef", "-Werror"]
# A piece of a program may define what it does not use.
PIECE = ["-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-but-set-variable",
         "-Wno-unused-parameter", "-Wno-unused-value"]
PRELUDE = """
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <tocsin/linux.h>
#include <tocsin/tocsin.h>
#include <unistd.h>
"""

passed = failed = 0


def check(name, holds, why=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"not ok: {name}" + (f"\n    {why.strip()}" if why else ""))


def pages():
    found = [path for path in ROOT.glob("*.md")] + sorted((ROOT / "docs").rglob("*.md"))
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
            for path in found]


def blocks(text):
    """(line, language, given, code) of each fenced block."""
    pattern = r"(?:<!-- given:(.*?)-->\s*\n)?^```(\w*)[^\n]*\n(.*?)^```[ ]*$"
    for match in re.finditer(pattern, text, re.S | re.M):
        line = text.count("\n", 0, match.start(2)) + 1
        yield line, match[2], match[1] or "", match[3]


def compile_c(text, scratch, *more):
    unit = scratch / "block.c"
    unit.write_text(text)
    ran = subprocess.run([os.environ.get("CC", "cc"), *WARNINGS, f"-I{ROOT / 'include'}", str(unit),
                          *map(str, more)], check=False, text=True, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return ran.returncode == 0, ran.stdout


def uv_library(library):
    return library.parent / "backends/uv/libtocsin-uv.a"


def needs_uv(code):
    return re.search(r"^#include <(?:tocsin/)?uv\.h>", code, re.M) is not None


def libraries_of(library, code):
    """What a program links: libtocsin-uv if it asks for it, the library, what those lean on."""
    first = [uv_library(library), library, "-luv"] if needs_uv(code) else [library]
    described = library.parent / "meson-private/tocsin.pc"
    private = re.findall(r"^(?:Requires|Libs)\.private:(.*)$",
                         described.read_text() if described.exists() else "", re.M)
    return first + (["-luring"] if "uring" in " ".join(private) else [])


def compile_block(name, line, given, code, library, scratch):
    marker = f'#line {line + 1} "{name}"\n'
    if re.search(r"^int main\(", code, re.M):
        return compile_c(marker + code, scratch, *libraries_of(library, code), "-pthread",
                         "-o", scratch / "program")
    before = PRELUDE + given + "\n"
    succeeded, output = compile_c(before + marker + code, scratch, "-fsyntax-only", *PIECE)
    if succeeded:
        return True, ""
    includes = "".join(re.findall(r"^#\s*include[^\n]*\n", code, re.M))
    body = re.sub(r"^#\s*include[^\n]*\n", "\n", code, flags=re.M)
    if re.search(r"\breturn [^;]+;", body):
        body = f"int block(void);\nint block(void)\n{{\n{marker}{body}\nreturn 0;\n}}\n"
    else:
        body = f"void block(void);\nvoid block(void)\n{{\n{marker}{body}\n}}\n"
    succeeded, second = compile_c(before + includes + body, scratch, "-fsyntax-only", *PIECE)
    return succeeded, f"{output}and as the body of a function:\n{second}"


def known_names():
    """Every tocsin word in the code, whole or as the beginning of one."""
    names = set()
    for folder in ("include", "runtime", "backends", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".c", ".h", ".cc", ".build", ".pml"):
                text = path.read_text(errors="replace")
                names.update(re.findall(r"\b(?:tocsin|TOCSIN)_\w+", text))
    return names


def public_functions():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "include/tocsin").glob("*.h")))
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    names = {re.search(r"(\w+)\s*\(", match[1])[1]
             for match in re.finditer(r"^TOCSIN_API\b([^;]*);", text, re.M)}
    names.update(re.findall(r"^static inline [^\n]*?\b(tocsin_\w+)\(", text, re.M))
    return names


def anchors(text):
    """The headings of a page as link targets."""
    found = set()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for heading in re.findall(r"^#+ +(.*)$", prose, re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
        found.add(plain.replace(" ", "-"))
    return found


def check_links(name, text):
    prose = re.sub(r"^```.*?^```[ ]*$", "", text, flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        holds = file.exists()
        if holds and anchor and file.suffix == ".md":
            holds = anchor in anchors(file.read_text(encoding="utf-8"))
        check(f"{name}: link to {target}", holds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, default=ROOT / "build/test-gcc")
    library = parser.parse_args().build / "libtocsin.a"
    found = pages()
    names = known_names()
    verbs = set(re.findall(r"^([a-z]+)(?: \| [^)]*)?\)$", (ROOT / "go").read_text(), re.M))
    check("libtocsin.a is built", library.exists(), str(library))
    check("there is documentation", any(name == "README.md" for name, _ in found)
          and any(name.startswith("docs/") for name, _ in found))

    with tempfile.TemporaryDirectory(prefix="tocsin-docs-") as folder:
        for name, text in found:
            for line, language, given, code in blocks(text):
                if needs_uv(code) and not uv_library(library).exists():
                    print(f"{name}:{line}: left out: no libtocsin-uv")
                elif language == "c":
                    succeeded, output = compile_block(name, line, given, code, library,
                                                      Path(folder))
                    check(f"{name}:{line}: C block", succeeded, output)

    word_pattern = r"\b(?:tocsin|TOCSIN)_[A-Za-z0-9_]*[A-Za-z0-9]\b(?![*_]|\.\w)"
    for name, text in found:
        for word in sorted(set(re.findall(word_pattern, text))):
            check(f"{name}: {word} exists", word in names)
        check_links(name, text)

        for verb in sorted(set(re.findall(r"\./go ([a-z]+)", text))):
            check(f"{name}: ./go {verb} exists", verb in verbs)
        if name == "README.md":
            hello = (ROOT / "docs/examples/hello.c").read_text(encoding="utf-8")
            check("README.md shows docs/examples/hello.c as it is",
                  hello in [code for _, language, _, code in blocks(text) if language == "c"])

    docs = "\n".join(text for name, text in found if name.startswith("docs/"))
    for function in sorted(public_functions()):
        check(f"{function} is on a page of docs/", re.search(rf"\b{function}\b", docs))

    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
