"""Markdown: a table for each cell, for the scale, and for the goals."""

from measure import quartiles


def number(value):
    """Three figures, and no more than are there."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f}M"
    if size >= 1e4:
        return f"{value / 1e3:.1f}k"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def ratio(ours, base):
    """The median of the paired ratios."""
    pairs = [a / b for a, b in zip(ours["figures"], base["figures"]) if b]
    return f"{quartiles(pairs)[1]:.2f}" if pairs else "-"


def median(row):
    return quartiles(row["figures"])[1]


def bases(cell):
    """The best raw one and the best peer."""
    pick = max if cell["rate"] else min
    raw = [row for row in cell["variants"] if row["library"] == "raw" and not row["again"]]
    peers = [row for row in cell["variants"] if row["library"] not in ("raw", "tocsin")]
    return pick(raw, key=median, default=None), pick(peers, key=median, default=None)


def cell_table(cell):
    raw, peer = bases(cell)
    rows = [row for row in cell["variants"] if not row["again"]]
    traced = any(row["calls_each"] is not None for row in rows)
    head = [f"{cell['key']}, {cell['unit']}", "median", "quartiles"]
    head += [f"/ {raw['label']}"] if raw else []
    head += [f"/ {peer['label']}"] if peer else []
    head += [heading for _, heading, _ in cell["extras"]] + (["calls"] if traced else [])
    lines = []
    for row in sorted(rows, key=median, reverse=cell["rate"]):
        first, middle, third = quartiles(row["figures"])
        line = [f"**{row['label']}**" if row["library"] == "tocsin" else row["label"],
                number(middle), f"{number(first)} to {number(third)}"]
        line += [ratio(row, base) for base in (raw, peer) if base]
        for key, _, scale in cell["extras"]:
            value = quartiles([printed[key] * scale for printed in row["samples"]])[1]
            line.append(("yes" if value >= 1 else "no") if key == "fair" else number(value))
        if traced:
            each = row["calls_each"]
            line.append("-" if each is None else number(sum(each.values())))
        lines.append(line)
    return f"### {cell['title'][0].upper()}{cell['title'][1:]}\n\n" + table(head, lines) + "\n"


def scale_tables(rows):
    parts = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        lines = [[row["label"] + f", {row['n']:,}", number(row["bytes"]),
                  number(row["resident_bytes"]), number(row["ns"]), number(row["op_ns"]),
                  number(row["end_ns"])] for row in rows if row["kind"] == kind]
        head = [f"{kind}s", "bytes", "resident", "make, ns", "operation, ns", "end, ns"]
        parts.append(table(head, lines) + "\n")
    return "\n".join(parts)


def goals_table(goals):
    lines = []
    for row in goals:
        low, high = row["quartiles"] or (None, None)
        spread = "-"
        if row["spread"]:
            spread = f"{number(row['spread'][0])} to {number(row['spread'][2])}"
        between = "-" if low is None else f"{number(low)} to {number(high)}"
        lines.append([f"{row['question']} {row['goal']}", number(row["median"]), between,
                      row["base"] or "-", spread, row["verdict"]])
    head = ["goal", "measured", "quartiles", "beside", "raw beside itself", "verdict"]
    return table(head, lines) + "\n"


def machine_lines(results):
    machine = results["machine"]
    lines = [f"- {machine['processors']} processors: {machine['processor']}; {machine['system']}",
             f"- {machine['compiler']}; {machine['libc']}; release build",
             "- " + ", ".join(f"{name} {version}" if name != version else name
                              for name, version in sorted(results["versions"].items())),
             f"- {results['rounds']} rounds; load at the start: {machine['load']:.1f}"]
    lines += [f"- left out: {what}: {why}" for what, why in sorted(results["left_out"].items())]
    if not machine["strace"]:
        lines.append("- left out: the column of system calls: no strace")
    return "\n".join(lines) + "\n"


def everything(results, graphs=False):
    """All tables; @graphs: each question's picture above its tables."""
    parts = [machine_lines(results)]
    if results["goals"]:
        parts.append("## Goals\n\n" + goals_table(results["goals"]))
    for question in dict.fromkeys(cell["question"] for cell in results["cells"]):
        parts.append(f"## {question}\n")
        if graphs:
            parts.append(f"![{question}](performance/{question.lower()}.svg)\n")
        parts += [cell_table(cell) for cell in results["cells"] if cell["question"] == question]
    if results["scale"]:
        parts.append("## Scale\n")
        if graphs:
            parts.append("![scale](performance/scale.svg)\n")
        parts.append(scale_tables(results["scale"]))
    return "\n".join(parts)
