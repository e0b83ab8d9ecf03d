#!/usr/bin/env python3
"""Lists the public functions for tests/differential: api.py SYMBOLS.txt ... HEADER ... > api.h.

Every exported symbol, and every inline function of the headers, becomes an enumerator API_name.
"""

import re
import sys
from pathlib import Path


def functions(path):
    text = Path(path).read_text(encoding="utf-8")
    if path.endswith(".txt"):
        return text.split()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.findall(r"^static inline\b[^;(]*?\b(tocsin_\w+)\(", text, re.M)


def main():
    names = sorted({name for path in sys.argv[1:] for name in functions(path)})
    print("/*\n * The public functions.  Made by api.py.\n */")
    print("#ifndef TOCSIN_TESTS_DIFFERENTIAL_API_H\n#define TOCSIN_TESTS_DIFFERENTIAL_API_H\n")
    print("#define API_FUNCTIONS(X) \\\n    " + " \\\n    ".join(f"X({name})" for name in names))
    print("\nenum api {\n    " + ",\n    ".join(f"API_{name}" for name in names) +
          ",\n    API_COUNT,\n};\n\n#endif")


if __name__ == "__main__":
    main()
