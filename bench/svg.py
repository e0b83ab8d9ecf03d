"""Pictures: bars with quartiles for cells, curves for what grows with N.  Plain SVG, no library."""

import math
from html import escape

from measure import quartiles
from tables import number

WIDTH = 860
LABELS = 250  # room for the names, left of the bars
BAR = 16
COLOURS = {"tocsin": "#1f6fb2", "raw": "#8a8a8a"}
PEER = "#d98c2b"
CURVES = ("#1f6fb2", "#d98c2b", "#3c9a5f", "#a3479c", "#8a8a8a", "#b23b3b", "#5a6acf", "#7a6a2f")


def text(x, y, what, anchor="start", size=12, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'font-weight="{weight}">{escape(str(what))}</text>')


def line(x1, y1, x2, y2, colour="#333", width=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def document(parts, height):
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
                      f'height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}" '
                      'font-family="sans-serif" fill="#222">',
                      f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>', *parts,
                      "</svg>"]) + "\n"


def bars(cell, top):
    """The cell's bars from @top on; a bar that is far too long for the rest is cut, and says so."""
    rows = [row for row in cell["variants"] if not row["again"]]
    rows.sort(key=lambda row: quartiles(row["figures"])[1], reverse=cell["rate"])
    medians = [quartiles(row["figures"])[1] for row in rows]
    ours = [value for row, value in zip(rows, medians) if row["library"] == "tocsin"]
    limit = max(medians)
    if ours and not cell["rate"]:
        limit = min(limit, max(ours) * 6)
    room = WIDTH - LABELS - 90
    note = "more is better" if cell["rate"] else "less is better"
    parts = [text(10, top + 16, f"{cell['title']} ({cell['unit']}, {note})", weight="bold",
                  size=13)]
    y = top + 26
    for row in rows:
        first, middle, third = (value / limit * room for value in quartiles(row["figures"]))
        length = min(middle, room)
        colour = COLOURS.get(row["library"], PEER)
        parts.append(text(LABELS - 8, y + 12, row["label"], "end"))
        parts.append(f'<rect x="{LABELS}" y="{y + 2}" width="{max(length, 1):.1f}" '
                     f'height="{BAR - 4}" fill="{colour}"/>')
        if third <= room:
            parts.append(line(LABELS + first, y + BAR / 2, LABELS + third, y + BAR / 2, "#000"))
        cut = " \u00bb" if middle > room else ""
        parts.append(text(LABELS + min(max(length, third), room) + 5, y + 12,
                          cut + number(quartiles(row["figures"])[1])))
        y += BAR
    return parts, y + 14


def log_position(value, low, high, start, end):
    if high <= low:
        return start
    return start + (math.log10(value) - low) / (high - low) * (end - start)


def curves(title, unit, series, top, height=260):
    """@series: {name: [(x, y)]}, both axes logarithmic."""
    points = [point for values in series.values() for point in values if point[1] > 0]
    if not points:
        return [], top
    x_low, x_high = (math.log10(pick(x for x, _ in points)) for pick in (min, max))
    y_low = math.floor(math.log10(min(y for _, y in points)))
    y_high = max(math.ceil(math.log10(max(y for _, y in points))), y_low + 1)
    left, right, bottom, head = 70, WIDTH - 200, top + height - 30, top + 30
    parts = [text(10, top + 16, f"{title} ({unit})", weight="bold", size=13)]
    for power in range(y_low, y_high + 1):
        y = log_position(10.0 ** power, y_low, y_high, bottom, head)
        parts += [line(left, y, right, y, "#ddd"), text(left - 6, y + 4, number(10.0 ** power),
                                                       "end", 11)]
    for power in range(math.ceil(x_low), math.floor(x_high) + 1):
        x = log_position(10.0 ** power, x_low, x_high, left, right)
        parts += [line(x, head, x, bottom, "#ddd"), text(x, bottom + 15, f"{10 ** power:,}",
                                                        "middle", 11)]
    for index, (name, values) in enumerate(series.items()):
        colour = CURVES[index % len(CURVES)]
        places = [(log_position(x, x_low, x_high, left, right),
                   log_position(y, y_low, y_high, bottom, head)) for x, y in values if y > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(line(right + 10, head + 8 + index * 16, right + 26, head + 8 + index * 16,
                          colour, 2))
        parts.append(text(right + 30, head + 12 + index * 16, name, size=11))
    return parts, top + height + 10


def question(cells):
    """The picture of one question."""
    parts, top = [], 6
    series = {}
    for cell in cells:
        if cell["curve"]:
            name, x = cell["curve"]
            for row in cell["variants"]:
                if not row["again"]:
                    series.setdefault(name, {}).setdefault(row["label"], []).append(
                        (x, quartiles(row["figures"])[1]))
        else:
            more, top = bars(cell, top)
            parts += more
    for name, values in series.items():
        unit = next(cell["unit"] for cell in cells if cell["curve"])
        more, top = curves(name, unit, values, top)
        parts += more
    return document(parts, top)


def scale(rows):
    parts, top = [], 6
    figures = (("bytes", "memory", "bytes each"), ("ns", "making one", "ns"),
               ("op_ns", "one operation while N are there", "ns"), ("end_ns", "ending one", "ns"))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for key, title, unit in figures:
            series = {}
            for row in rows:
                if row["kind"] == kind:
                    series.setdefault(row["label"], []).append((row["n"], row[key]))
            more, top = curves(f"{kind}s: {title}", unit, series, top, 200)
            parts += more
    return document(parts, top)
