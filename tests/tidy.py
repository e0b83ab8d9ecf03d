#!/usr/bin/env python3
"""What a tool can enforce of the house style, and of the order among the folders.

Each rule is one function: it looks at the whole tree and yields findings.  A rule without findings
has passed.  Comments and string literals are told from code by a small scanner, so a rule says
which of the two it reads.

    tests/tidy.py [--list] [RULE ...]

Prints each finding as file:line: rule: what, and `N passed, N failed` at the end.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COLUMNS_MAX = 100
FILE_LINES_WARN = 700
FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 70

# Folders from the bottom up: a file includes from its own level or a lower one.
LEVELS = ["include", "runtime", "backends", "tests", "bench", "docs/examples"]
STANDARD_HEADERS = {"errno.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h"}
BACKEND_NAMES = r"epoll|io_uring|uring|libuv|iocp"
# Words that look like an atomic's tag and are none.
NOT_TAGS = {"UTF-8", "UTF-16", "SHA-1", "SHA-256", "ISO-8859"}

RULES = []


def rule(function):
    RULES.append(function)
    return function


class Source:
    """One file: its lines, and for C its text as code alone and as comments alone."""

    def __init__(self, path):
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.split("\n")
        self.is_c = path.suffix in (".c", ".h", ".cc")
        if self.is_c:
            self.code, self.comments, self.slashes = split_c(self.text)
            self.code_lines = self.code.split("\n")
            self.comment_lines = self.comments.split("\n")

    def under(self, *folders):
        return any(self.name.startswith(folder + "/") for folder in folders)

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def functions(self):
        """(first line, last line) of each function, from its brace at column 0 to the last."""
        start = None
        for number, line in enumerate(self.code_lines, 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                yield start, number
                start = None


def split_c(text):
    """The code (literals as quotes around blanks), the comments, the lines of // comments."""
    code, comments, slashes = [], [], []
    pattern = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
    position = 0

    def blank(part):
        return re.sub(r"[^\n]", " ", part)

    for match in pattern.finditer(text):
        before, part = text[position:match.start()], match.group()
        code.append(before)
        comments.append(blank(before))
        position = match.end()
        if part.startswith("/"):
            code.append(blank(part))
            comments.append(part)
            if part.startswith("//"):
                slashes.append(text.count("\n", 0, match.start()) + 1)
        else:
            code.append(part[0] + blank(part[1:-1]) + part[-1])
            comments.append(blank(part))
    code.append(text[position:])
    comments.append(blank(text[position:]))
    return "".join(code), "".join(comments), slashes


def load():
    """All that is kept under version control, as far as its kind is known here."""
    kinds = {".c", ".h", ".cc", ".py", ".sh", ".pml", ".md", ".patch", ".txt", ".build"}
    named = {"go", "run", "meson_options.txt", ".clang-format", ".clang-tidy"}
    files = []
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if parts[0] in (".git", "build") or "__pycache__" in parts or not path.is_file():
            continue
        if path.suffix in kinds or path.name in named:
            files.append(Source(path))
    return files


FILES = load()
C_FILES = [source for source in FILES if source.is_c]
LIBRARY = [source for source in C_FILES if source.under("include", "runtime", "backends")]


def search(sources, pattern, where="code"):
    """(source, line number, match) of each hit of @pattern in the code, comments or text."""
    compiled = re.compile(pattern, re.M)
    for source in sources:
        for match in compiled.finditer(getattr(source, where)):
            yield source, source.line_of(match.start()), match


# ---- Files -------------------------------------------------------------------------------------


@rule
def columns():
    """No line is longer than 100 columns (prose and data aside)."""
    for source in FILES:
        if source.path.suffix in (".md", ".patch", ".txt"):
            continue
        for number, line in enumerate(source.lines, 1):
            if len(line) > COLUMNS_MAX:
                yield source, number, f"{len(line)} columns"


@rule
def whitespace():
    """No tab, no trailing blank, no carriage return; one newline at the end."""
    for source in FILES:
        if source.path.suffix == ".patch":
            continue
        for number, line in enumerate(source.lines, 1):
            if "\t" in line and source.path.suffix != ".txt":
                yield source, number, "tab"
            if line != line.rstrip():
                yield source, number, "blank or carriage return at the end of the line"
        if source.text and (not source.text.endswith("\n") or source.text.endswith("\n\n")):
            yield source, len(source.lines), "not exactly one newline at the end of the file"


@rule
def file_length():
    """A file ends before 1,000 lines; past 700 look again."""
    for source in FILES:
        count = len(source.lines) - 1
        if source.path.suffix in (".md", ".txt", ".patch"):
            continue
        if count > FILE_LINES_MAX:
            yield source, count, f"{count} lines"
        elif count > FILE_LINES_WARN:
            print(f"{source.name}:{count}: warning: file_length: {count} lines")


@rule
def function_length():
    """A function has at most 70 lines."""
    for source in C_FILES:
        for first, last in source.functions():
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield source, first, f"function of {last - first + 1} lines"


@rule
def file_head():
    """Every C file begins with a comment that says what it is."""
    for source in C_FILES:
        if not source.text.startswith("/*"):
            yield source, 1, "no comment at the head of the file"


@rule
def header_guard():
    """A header has one guard, ..._H, of its own, and nothing after its #endif."""
    seen = {}
    for source in C_FILES:
        if source.path.suffix != ".h":
            continue
        directives = [line.rstrip() for line in source.code_lines if line.startswith("#")]
        guard = re.fullmatch(r"#ifndef ([A-Z]\w*_H)", directives[0]) if directives else None
        if not guard or directives[1] != f"#define {guard[1]}" or directives[-1] != "#endif":
            yield source, 1, "no guard ..._H around the header"
        elif guard[1] in seen:
            yield source, 1, f"the guard {guard[1]} is also that of {seen[guard[1]]}"
        else:
            seen[guard[1]] = source.name


@rule
def built():
    """Every C file is named in a meson.build of its folder or of one above: no orphans."""
    for source in C_FILES:
        if source.path.suffix == ".h" and not source.under("include"):
            continue
        if source.under("tests/install", "tests/regress/data"):
            continue
        # tests/conformance names groups: the group NAME is cases_NAME.c.
        stem = source.path.stem.removeprefix("cases_")
        for folder in source.path.parents:
            build = folder / "meson.build"
            if build.exists() and re.search(rf"[^\w]{re.escape(stem)}[^\w]", build.read_text()):
                break
            if folder == ROOT:
                yield source, 1, "in no meson.build"
                break


# ---- Includes ----------------------------------------------------------------------------------


def includes(sources):
    for source in sources:
        for number, line in enumerate(source.lines, 1):
            match = re.match(r'#\s*include\s+([<"])([^>"]+)[>"]', line)
            if match and source.code_lines[number - 1].startswith("#"):
                yield source, number, match[1], match[2]


def level_of(name):
    for index, folder in enumerate(LEVELS):
        if name.startswith(folder + "/"):
            return index
    return None


@rule
def dependencies():
    """include <- runtime <- backends <- tests, bench, examples."""
    for source, number, quote, name in includes(C_FILES):
        own = level_of(source.name)
        if name.startswith("tocsin/"):
            if quote != "<":
                yield source, number, f"{name}: public headers are included with < >"
            continue
        other = level_of(name)
        if own is not None and other is not None and other > own:
            yield source, number, f"{LEVELS[own]} includes from {LEVELS[other]}: {name}"
        if source.under("docs/examples", "bench") and other is not None and other < own:
            yield source, number, f"an example or benchmark includes what is private: {name}"


@rule
def public_includes():
    """Public headers include public headers and the standard's, nothing of an operating system."""
    for source, number, _, name in includes(C_FILES):
        if source.under("include") and not name.startswith("tocsin/"):
            if name not in STANDARD_HEADERS:
                yield source, number, f"{name} in a public header"


@rule
def backends_apart():
    """A backend includes from its own folder and from ring/, which two share; no other."""
    for source, number, _, name in includes(C_FILES):
        own = re.match(r"backends/(\w+)/", source.name)
        other = re.match(r"backends/(\w+)/", name)
        if own and other and other[1] not in (own[1], "ring"):
            yield source, number, f"{source.name} includes {name}"


@rule
def runtime_names_no_backend():
    """The runtime knows no backend: none is named in its code."""
    runtime = [source for source in C_FILES if source.under("runtime")]
    for source, number, match in search(runtime, rf"\b(?:be_\w+|\w*(?:{BACKEND_NAMES})\w*)\b"):
        yield source, number, f"names {match.group()}"


@rule
def no_c_includes():
    """No .c file is included."""
    for source, number, _, name in includes(C_FILES):
        if name.endswith(".c"):
            yield source, number, f"includes {name}"


@rule
def no_threads_h():
    """No <threads.h>: not every C library has it."""
    for source, number, _, name in includes(C_FILES):
        if name == "threads.h":
            yield source, number, "includes <threads.h>"


@rule
def no_conditionals():
    """No #if in a public header but the guard, and in base.h __cplusplus and __GNUC__."""
    allowed = {"#ifdef __cplusplus", "#if defined(__GNUC__)"}
    for source in C_FILES:
        if not source.under("include"):
            continue
        found = [(number, line.strip()) for number, line in enumerate(source.code_lines, 1)
                 if re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line)]
        for number, line in found[1:]:
            if source.path.name != "base.h" or line not in allowed:
                yield source, number, line


# ---- Code --------------------------------------------------------------------------------------


@rule
def block_comments():
    """/* */ only: // is for code that is not committed."""
    for source in C_FILES:
        for number in source.slashes:
            yield source, number, "a // comment"


@rule
def typedefs():
    """Only function types have a typedef, named ..._fn."""
    for source, number, match in search(C_FILES, r"^[ \t]*typedef\b[^;]*;"):
        if not re.match(r"\s*typedef\s+[\w\s*]*?\b\w+_fn\s*\(", match.group()):
            yield source, number, "typedef of something else than a function type ..._fn"


@rule
def private_names():
    """tocsin__ is the library's own: never in a public header, an example or a benchmark."""
    sources = [source for source in C_FILES if source.under("include", "docs/examples", "bench")]
    for source, number, match in search(sources, r"\b(?:tocsin__\w+|TOCSIN__\w+)"):
        yield source, number, match.group()


@rule
def export_in_headers():
    """TOCSIN_API stands in public headers, and in plugins before tocsin_backend_plugin()."""
    for source, number, match in search(C_FILES, r"\bTOCSIN_API\b[^;{]*"):
        if not source.under("include") and "tocsin_backend_plugin" not in match.group():
            yield source, number, "TOCSIN_API outside include/"


@rule
def atomics_explicit():
    """Only the _explicit operations on atomics: each says its order."""
    pattern = (r"\batomic_(?:load|store|exchange|compare_exchange_(?:strong|weak)"
               r"|fetch_(?:add|sub|or|xor|and)|flag_test_and_set|flag_clear)\s*\(")
    for source, number, match in search(C_FILES, pattern):
        yield source, number, match.group().rstrip("(").strip()


@rule
def atomics_standard():
    """No fences (the race detector does not model them) and no builtins."""
    pattern = r"\batomic_(?:thread|signal)_fence\b|\b__sync_\w+|\b__atomic_\w+|\b__c11_atomic_\w+"
    for source, number, match in search(C_FILES, pattern):
        yield source, number, match.group()


ATOMIC_FIELD = (r"^[ \t]+(?:const )?(?:_Atomic\s*\(|TOCSIN_ATOMIC\s*\(|atomic_\w+ )"
                r"[^;=(]*(?:\)[^;=(]*)?;")
TAG = r"\b[A-Z]{2,}-[0-9]+\b"


def comments_above(source, number):
    """The comments on the line and on those above it, up to an empty line or an opening brace."""
    found = [source.comment_lines[number - 1]]
    line = number - 1
    while line >= 1:
        code = source.code_lines[line - 1].strip()
        if not source.lines[line - 1].strip() or code.endswith("{"):
            break
        found.append(source.comment_lines[line - 1])
        line -= 1
    return "\n".join(found)


@rule
def atomics_declared_with_tag():
    """Each atomic field of the library has its tag in the comment above it, or above its group."""
    for source, number, match in search(LIBRARY, ATOMIC_FIELD):
        text = match.group()
        number += text[:len(text) - len(text.lstrip())].count("\n")
        if not re.search(TAG, comments_above(source, number)):
            yield source, number, f"no tag above {text.strip()}"


@rule
def atomics_used_with_tag():
    """Each operation on an atomic of the library repeats a tag, in its function or above it."""
    for source in LIBRARY:
        for first, last in source.functions():
            body = "\n".join(source.code_lines[first - 1:last])
            if not re.search(r"\batomic_\w+_explicit\b", body):
                continue
            start = first
            while start > 1 and source.lines[start - 2].strip():
                start -= 1
            if not re.search(TAG, "\n".join(source.comment_lines[start - 1:last])):
                yield source, first, "an operation on an atomic, and no tag"


def tags_in_code():
    found = {}
    for source, number, match in search(LIBRARY, TAG, "comments"):
        if match.group() not in NOT_TAGS:
            found.setdefault(match.group(), (source, number))
    return found


def tags_in_docs():
    found = {}
    for source in FILES:
        if source.name == "docs/CONCURRENCY.md":
            for number, line in enumerate(source.lines, 1):
                match = re.match(rf"\|\s*[`*]*({TAG[2:-2]})[`*]*\s*\|", line)
                if match:
                    found.setdefault(match[1], (source, number))
    return found


@rule
def tags_documented():
    """Each tag in the code has a row in docs/CONCURRENCY.md."""
    documented = tags_in_docs()
    for tag, (source, number) in tags_in_code().items():
        if tag not in documented:
            yield source, number, f"{tag} has no row in docs/CONCURRENCY.md"


@rule
def tags_used():
    """Each row in docs/CONCURRENCY.md is about a tag that the code has."""
    used = tags_in_code()
    for tag, (source, number) in tags_in_docs().items():
        if tag not in used:
            yield source, number, f"{tag} is not in the code"


@rule
def library_is_quiet():
    """The library prints nothing (assert.c aside), and touches no signal handler."""
    pattern = r"\b(?:printf|fprintf|puts|fputs|perror|putchar|syslog)\s*\(|\b(?:stdout|stderr)\b"
    for source, number, match in search(LIBRARY, pattern):
        if source.name != "runtime/assert.c":
            yield source, number, match.group()
    for source, number, match in search(LIBRARY, r"\b(?:signal|sigaction|sigprocmask)\s*\("):
        if not re.search(r"^\s*struct\s", source.lines[number - 1]):
            yield source, number, match.group()


@rule
def no_sleeps_in_tests():
    """No test sleeps: it blocks on the thing, or moves virtual time."""
    tests = [source for source in FILES if source.under("tests", "docs/examples")]
    this = Path(__file__).resolve()
    for source in tests:
        if source.path == this:
            continue
        if source.is_c:
            pattern = r"\b(?:sleep|usleep|nanosleep|clock_nanosleep)\s*\(|\bpoll\(NULL, 0,"
            hits = search([source], pattern)
        elif source.path.suffix == ".py":
            hits = search([source], r"\btime\.sleep\s*\(|\bsleep\s*\(", "text")
        elif source.path.suffix == ".sh":
            hits = search([source], r"^\s*sleep\b|[;&|]\s*sleep\b|\bdo\s+sleep\b", "text")
        else:
            continue
        for _, number, match in hits:
            yield source, number, match.group().strip()


@rule
def loose_ends():
    """No TODO without the number of its issue; no FIXME, XXX or HACK."""
    this = Path(__file__).resolve()
    for source, number, match in search(FILES, r"\b(?:TODO(?!\(#\d+\))|FIXME|XXX|HACK)\b", "text"):
        if source.path != this:
            yield source, number, match.group()


def balanced(text):
    """Where the parenthesis that @text begins with has closed."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return index + 1
    return len(text)


@rule
def braces():
    """Braces always: no if, else, for or while without."""
    pattern = r"^[ \t]*(?:\} )?(?:(?:else )?if|else|for|while)\b"
    for source, number, match in search(C_FILES, pattern):
        rest = source.code[match.end():].lstrip()
        if rest.startswith("("):
            rest = rest[balanced(rest):].lstrip()
        # A do's while ends in a semicolon.
        if not rest.startswith("{") and not match.group().strip().startswith("} while"):
            yield source, number, "no brace"


# ------------------------------------------------------------------------------------------------


def main(arguments):
    if arguments == ["--list"]:
        for check in RULES:
            print(f"{check.__name__:28} {check.__doc__}")
        return 0
    unknown = set(arguments) - {check.__name__ for check in RULES}
    if unknown:
        print("tidy: no such rule:", *sorted(unknown), file=sys.stderr)
        return 2

    passed = failed = 0
    for check in RULES:
        if arguments and check.__name__ not in arguments:
            continue
        findings = [(source.name, number, what) for source, number, what in check()]
        for name, number, what in sorted(set(findings)):
            print(f"{name}:{number}: {check.__name__}: {what}")
        if findings:
            failed += 1
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
