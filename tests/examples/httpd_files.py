#!/usr/bin/env python3
"""httpd gives out what is in the directory: files byte for byte, listings, ranges, 304s."""

import email.utils
import hashlib
import html.parser
import os
import random
import subprocess
import urllib.parse

from harness import Wire, need_tool, run, serve, write_file

# What names are made of: each is one pick.  No slash and no NUL: those no file's name has.
NAME_PIECES = [
    *"abcdefghijklmnopqrstuvwxyzABC0123456789",
    *" %%%&?#+;=:@'\"<>\\|{}[]~!$()*,^`-_.",
    "%20", "%2e%2e", "%00", "%2F", "..", "ä", "ß", "日本", "🔔", "\n", "\t", "\u202e",
    ".html", ".txt",
]
SIZES_EDGES = [0, 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 262143, 262144, 262145, 524289]


def quote(path):
    return urllib.parse.quote(path, safe="/")


def random_name(rng):
    while True:
        name = "".join(rng.choice(NAME_PIECES) for _ in range(rng.randint(1, 24)))
        if name not in (".", "..", "index.html") and len(name.encode()) <= 200:
            return name


def make_files(rng, root, count):
    """Write count files of all sizes, some in folders; their paths and contents."""
    files = {}
    folders = [""] + [random_name(rng) + "/" for _ in range(4)]
    folders.append(folders[1] + random_name(rng) + "/")
    for i in range(count):
        if i < len(SIZES_EDGES):
            size = SIZES_EDGES[i]
        elif i % 50 == 49:
            size = rng.randint(1 << 20, 5 << 20)
        else:
            size = int(2 ** rng.uniform(0, 18))
        path = rng.choice(folders) + random_name(rng)
        while path in files or os.path.exists(os.path.join(root, path)):
            path += "x"
        files[path] = rng.randbytes(size)
        write_file(root, path, data=files[path])
    return files


def random_files_come_byte_for_byte(checks, arguments, scratch):
    """Through curl, all over one connection, and the same again by HEAD."""
    curl = need_tool("curl")
    rng = random.Random(arguments.seed)
    print(f"seed={arguments.seed}")
    root = os.path.join(scratch, "random")
    os.mkdir(root)
    files = make_files(rng, root, 40 if arguments.small else 200)
    server = serve(arguments, root)
    got = os.path.join(scratch, "got")
    os.mkdir(got)
    config = os.path.join(scratch, "curl.config")
    with open(config, "w", encoding="ascii") as stream:
        for i, path in enumerate(files):
            stream.write(f'url = "{server.url}{quote(path)}"\noutput = "{got}/{i}"\n')
    told = subprocess.run(
        [curl, "-sS", "--globoff", "--path-as-is", "--max-time", "120", "--config", config,
         "--write-out", "%{http_code} %{num_connects} %{size_download}\n"],
        capture_output=True, check=False,
    )
    checks.equal(told.stderr, b"", "curl's errors")
    rows = [line.split() for line in told.stdout.decode().splitlines()]
    checks.equal(len(rows), len(files), "curl's transfers")
    checks.equal(sum(int(row[1]) for row in rows), 1, "connections made for all of them")
    for i, (path, data) in enumerate(files.items()):
        try:
            with open(f"{got}/{i}", "rb") as stream:
                body = stream.read()
        except FileNotFoundError:  # curl makes no file for an empty body
            body = b""
        checks.equal(rows[i][0], "200", f"status of {path!r}")
        checks.ok(body == data, f"{path!r}: {len(body)} bytes came of {len(data)}, or other ones")
    with Wire(server) as wire:
        for path, data in files.items():
            response = wire.ask("/" + quote(path), method="HEAD")
            checks.equal(response.fields["content-length"], str(len(data)), f"HEAD {path!r}")
    checks.equal(server.stop(), 0, "exit status")


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.links.append(dict(attributes)["href"])
        elif tag not in ("html", "head", "meta", "title", "body", "h1", "ul", "li"):
            self.links.append(f"the tag {tag} is not the page's own")

    def handle_data(self, data):
        self.text += data


def listings_name_every_file(checks, arguments, scratch):
    root = os.path.join(scratch, "listed")
    names = ["a.txt", "<script>alert(1)</script>", "a\"b'c", "ö&amp;", "x:y", "%41", "#frag", "?q",
             "sp ace", "..x", ".hidden", "\\\\host"]
    for name in names:
        if "/" in name:
            name = name.replace("/", "_")
        write_file(root, "sub", name)
    os.mkdir(os.path.join(root, "sub", "deeper <b>"))
    server = serve(arguments, root)
    with Wire(server) as wire:
        response = wire.ask("/sub/")
        checks.equal(response.status, 200, "a listing")
        checks.equal(response.fields["content-type"], "text/html; charset=utf-8", "its type")
        page = Links()
        page.feed(response.body.decode())
        found = sorted(urllib.parse.unquote(link) for link in page.links)
        expected = sorted(
            ["../"] + [name + ("/" if os.path.isdir(f"{root}/sub/{name}") else "")
                       for name in os.listdir(f"{root}/sub")])
        checks.equal(found, expected, "links of the listing")
        for name in expected:
            checks.ok(name in page.text, f"{name!r} is shown as it is")
        for link in page.links:
            if not link.endswith("/"):
                checks.equal(wire.ask("/sub/" + link).status, 200, f"the link {link}")
        head = wire.ask("/sub/", method="HEAD")
        checks.equal(head.fields["content-length"], response.fields["content-length"], "HEAD")

        moved = wire.ask("/sub")
        checks.equal(moved.status, 301, "a directory without its slash")
        place = urllib.parse.urljoin("http://h/sub", moved.fields["location"])
        checks.equal(place, "http://h/sub/", "where it is")
        moved = wire.ask("/sub/deeper%20%3Cb%3E")
        place = urllib.parse.urljoin("http://h/sub/deeper", moved.fields["location"])
        checks.equal(place, "http://h/sub/deeper%20%3Cb%3E/", "where the deeper one is")

        write_file(root, "sub", "index.html", data=b"the index")
        checks.equal(wire.ask("/sub/").body, b"the index", "index.html")
        checks.equal(wire.ask("/sub/").fields["content-type"], "text/html; charset=utf-8", "type")
        checks.equal(wire.ask("/sub/a.txt/").status, 404, "a file with a slash")
        checks.equal(wire.ask("/").status, 200, "the root's listing")
        checks.equal(wire.ask("/sub/.././sub//index.html").body, b"the index", "dots inside")
        os.mkdir(os.path.join(root, "closed"), mode=0o000)
        expected = 403 if os.geteuid() != 0 else 200
        checks.equal(wire.ask("/closed/").status, expected, "a directory that may not be read")
        os.mkfifo(os.path.join(root, "fifo"))
        checks.equal(wire.ask("/fifo").status, 404, "a FIFO, which nobody waits for")
    checks.equal(server.stop(), 0, "exit status")


def types_follow_the_ending(checks, arguments, scratch):
    root = os.path.join(scratch, "types")
    types = {
        "a.html": "text/html; charset=utf-8",
        "A.HTML": "text/html; charset=utf-8",
        "a.css": "text/css; charset=utf-8",
        "a.js": "text/javascript; charset=utf-8",
        "a.json": "application/json",
        "a.txt": "text/plain; charset=utf-8",
        "a.png": "image/png",
        "a.svg": "image/svg+xml",
        "a.tar.gz": "application/gzip",
        "a.wasm": "application/wasm",
        "a.unknown": "application/octet-stream",
        "noending": "application/octet-stream",
        "dir.html/noending": "application/octet-stream",
    }
    for name in types:
        write_file(root, name, data=b"x")
    server = serve(arguments, root)
    with Wire(server) as wire:
        for name, expected in types.items():
            fields = wire.ask("/" + name).fields
            checks.equal(fields["content-type"], expected, name)
            checks.equal(fields["x-content-type-options"], "nosniff", name)
    checks.equal(server.stop(), 0, "exit status")


def ranges_are_the_bytes_asked_for(checks, arguments, scratch):
    root = os.path.join(scratch, "ranges")
    data = random.Random(arguments.seed).randbytes(300_001)
    size = len(data)
    write_file(root, "f", data=data)
    write_file(root, "empty")
    os.utime(os.path.join(root, "f"), (1_000_000_000, 1_000_000_000))
    server = serve(arguments, root)
    partial = [  # the Range, and the slice
        ("0-0", slice(0, 1)),
        ("0-99", slice(0, 100)),
        ("100-", slice(100, size)),
        ("-1", slice(size - 1, size)),
        ("-1000", slice(size - 1000, size)),
        (f"-{size}", slice(0, size)),
        (f"-{size + 1}", slice(0, size)),
        ("-99999999999999999999999", slice(0, size)),
        (f"{size - 1}-", slice(size - 1, size)),
        (f"{size - 1}-{size + 5}", slice(size - 1, size)),
        ("5-99999999999999999999999", slice(5, size)),
        ("262143-262145", slice(262143, 262146)),
    ]
    whole = ["1-0", "abc", "-", "", "0-0,2-3", "0-0, 5-5", "0x1-2", "1 - 2", "+1-2", "1--2",
             "--1", "1-2x"]
    missing = [f"{size}-", f"{size}-{size + 9}", "99999999999999999999999-", "-0"]
    with Wire(server) as wire:
        for text, part in partial:
            response = wire.ask("/f", f"Range: bytes={text}")
            first, last = part.start, part.stop - 1
            checks.equal(response.status, 206, text)
            checks.equal(response.fields.get("content-range"), f"bytes {first}-{last}/{size}", text)
            checks.ok(response.body == data[part], f"bytes of {text}")
        for text in whole:
            response = wire.ask("/f", f"Range: bytes={text}")
            checks.equal(response.status, 200, f"ignored: {text}")
            checks.ok("content-range" not in response.fields, f"no Content-Range: {text}")
            checks.ok(response.body == data, f"all bytes: {text}")
        for text in missing:
            response = wire.ask("/f", f"Range: bytes={text}")
            checks.equal(response.status, 416, text)
            checks.equal(response.fields.get("content-range"), f"bytes */{size}", text)
        checks.equal(wire.ask("/f", "Range: lines=0-9").status, 200, "an unknown unit")
        checks.equal(wire.ask("/f", "Range: BYTES=0-9").status, 206, "a unit's case")
        checks.equal(wire.ask("/f", "Range: bytes=0-1", "Range: bytes=2-3").status, 200, "two")
        checks.equal(wire.ask("/f", "Range: bytes=0-9", method="HEAD").status, 200, "HEAD")
        checks.equal(wire.ask("/empty", "Range: bytes=0-").status, 416, "of an empty file")
        checks.equal(wire.ask("/empty", "Range: bytes=-5").status, 200, "the end of an empty file")
        checks.equal(wire.ask("/", "Range: bytes=0-5").status, 200, "of a listing")

        first = wire.ask("/f", method="HEAD").fields
        for value, status in [
            (first["etag"], 206),
            ("W/" + first["etag"], 200),
            ('"other"', 200),
            (first["last-modified"], 206),
            ("Sun, 09 Sep 2001 01:46:41 GMT", 200),  # one second after it
            ("nonsense", 200),
        ]:
            response = wire.ask("/f", "Range: bytes=0-9", f"If-Range: {value}")
            checks.equal(response.status, status, f"If-Range: {value}")
            checks.equal(len(response.body), 10 if status == 206 else size, f"If-Range: {value}")
        now = os.path.join(root, "f")
        os.utime(now, (4_000_000_000, 4_000_000_000))
        future = wire.ask("/f", method="HEAD").fields
        checks.equal(future["last-modified"], future["date"], "a file from the future is of now")
        response = wire.ask("/f", "Range: bytes=0-9", f"If-Range: {future['last-modified']}")
        checks.equal(response.status, 200, "If-Range with a date that is no strong validator")

    curl = need_tool("curl")
    hashed = hashlib.sha256()
    for first in range(0, size, 100_000):
        part = f"{first}-{first + 99_999}"
        got = subprocess.run([curl, "-sS", "--range", part, server.url + "f"],
                             capture_output=True, check=False)
        hashed.update(got.stdout)
    checks.equal(hashed.hexdigest(), hashlib.sha256(data).hexdigest(), "what curl fetched")
    checks.equal(server.stop(), 0, "exit status")


def conditions_spare_the_body(checks, arguments, scratch):
    root = os.path.join(scratch, "conditions")
    seconds = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT
    path = write_file(root, "f", data=b"content")
    os.utime(path, (seconds, seconds))
    server = serve(arguments, root)
    dates = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
             "Sun Nov  6 08:49:37 1994"]
    earlier = [date.replace("08:49:37", "08:49:36") for date in dates]
    with Wire(server) as wire:
        first = wire.ask("/f")
        checks.equal(first.fields["last-modified"], dates[0], "Last-Modified")
        checks.ok(email.utils.parsedate_to_datetime(first.fields["date"]) is not None, "Date")
        tag = first.fields["etag"]
        rows = [(f"If-Modified-Since: {date}", 304) for date in dates]
        rows += [(f"If-Modified-Since: {date}", 200) for date in earlier]
        rows += [(f"If-Unmodified-Since: {date}", 200) for date in dates]
        rows += [(f"If-Unmodified-Since: {date}", 412) for date in earlier]
        rows += [
            ("If-Modified-Since: Sun, 30 Feb 2020 08:49:37 GMT", 200),
            ("If-Modified-Since: yesterday", 200),
            (f"If-Modified-Since: {dates[0]} ", 304),
            (f"If-None-Match: {tag}", 304),
            (f"If-None-Match: W/{tag}", 304),
            (f'If-None-Match: "x", {tag}', 304),
            (f'If-None-Match: "x"\r\nIf-None-Match: {tag}', 304),
            ("If-None-Match: *", 304),
            ('If-None-Match: "x"', 200),
            (f'If-None-Match: "x"\r\nIf-Modified-Since: {dates[0]}', 200),  # the tag overrules
            (f"If-Match: {tag}", 200),
            ("If-Match: *", 200),
            (f"If-Match: W/{tag}", 412),
            ('If-Match: "x"', 412),
            (f"If-Match: {tag}\r\nIf-Unmodified-Since: {earlier[0]}", 200),
            (f"If-None-Match: {tag}\r\nRange: bytes=0-1", 304),
        ]
        for line, status in rows:
            response = wire.ask("/f", line)
            checks.equal(response.status, status, line)
            if status == 304:
                checks.ok("content-length" not in response.fields, f"{line}: no length")
                checks.equal(response.fields["etag"], tag, f"{line}: the tag")
            checks.equal(wire.ask("/f", line, method="HEAD").status, status, f"HEAD, {line}")
        write_file(root, "f", data=b"newer")
        checks.ok(wire.ask("/f").fields["etag"] != tag, "another version has another tag")
        checks.equal(wire.ask("/f", f"If-Modified-Since: {dates[0]}").body, b"newer", "it is sent")
    checks.equal(server.stop(), 0, "exit status")


run(
    [
        random_files_come_byte_for_byte,
        listings_name_every_file,
        types_follow_the_ending,
        ranges_are_the_bytes_asked_for,
        conditions_spare_the_body,
    ],
    ["httpd"],
)
