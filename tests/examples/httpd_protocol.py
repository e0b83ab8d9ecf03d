#!/usr/bin/env python3
"""httpd speaks HTTP/1.1, refuses what is not, and lets no path out of its directory."""

import os
import re
import subprocess

from harness import Wire, need_tool, run, serve, write_file

HERE = os.path.dirname(os.path.abspath(__file__))
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}
GOOD = b"GET /good HTTP/1.1\r\nHost: h\r\n\r\n"


def unescape(text):
    """The bytes of a line of malformed.txt."""
    data = b""
    while text:
        repeated = re.match(r"\\\{(\d+)\*(.*?)\}", text)
        if repeated:
            data += unescape(repeated[2]) * int(repeated[1])
            text = text[repeated.end():]
        elif text.startswith("\\x"):
            data += bytes.fromhex(text[2:4])
            text = text[4:]
        elif text.startswith("\\"):
            data += ESCAPES[text[1]]
            text = text[2:]
        else:
            data += text[0].encode("ascii")
            text = text[1:]
    return data


def read_malformed():
    rows = []
    with open(os.path.join(HERE, "malformed.txt"), encoding="ascii") as stream:
        for line in stream:
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                statuses, text = line.split(" ", 1)
                rows.append((text, [int(status) for status in statuses.split(",")]))
    return rows


def send_as_far_as_it_listens(wire, data):
    try:
        wire.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def malformed_requests_are_refused(checks, arguments, scratch):
    root = os.path.join(scratch, "malformed")
    write_file(root, "good", data=b"good")
    server = serve(arguments, root)
    rows = read_malformed()
    checks.ok(len(rows) >= 60, f"only {len(rows)} malformed requests")
    for text, statuses in rows:
        shown = text if len(text) < 100 else text[:100] + "..."
        with Wire(server) as wire:
            send_as_far_as_it_listens(wire, unescape(text))
            for i, status in enumerate(statuses):
                response = wire.response()
                if not checks.ok(response is not None, f"no answer to {shown}"):
                    break
                checks.equal(response.status, status, f"answer to {shown}")
                last = i == len(statuses) - 1
                checks.equal(response.fields.get("connection"), "close" if last else None, shown)
            checks.equal(wire.ends(), b"", f"nothing follows, after {shown}")
        with Wire(server) as wire:
            wire.send(GOOD)
            response = wire.response()
            checks.ok(response is not None and response.body == b"good", f"good one after {shown}")
    checks.equal(server.stop(), 0, "exit status")


def what_is_odd_but_right_is_answered(checks, arguments, scratch):
    root = os.path.join(scratch, "odd")
    write_file(root, "good", data=b"good")
    server = serve(arguments, root)
    requests = [
        b"\r\n\r\nGET /good HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost:h\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost: \t h \t \r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHOST: [::1]:80\r\n\r\n",
        b"GET /good HTTP/1.7\r\nHost: h\r\n\r\n",
        b"GET /good?query=../..&a=%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://other:80/good?x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET HTTPS://other/good HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /%67%6F%6f%64 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET //good HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /x/../good HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /./good HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost: h\r\nA:\r\nB: \r\nC: \xc3\xa4\xff\t;\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 63 + b"\r\n",
        b"GET /good HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 8100 + b"\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"GET /good HTTP/1.1\r\nHost: h\r\nContent-Length: 00005\r\n\r\nhello",
        b"GET /good HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536,
        b"GET /good HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
    ]
    with Wire(server) as wire:  # one connection for all: each is understood to its last byte
        for request in requests:
            wire.send(request)
            response = wire.response()
            if not checks.ok(response is not None, f"an answer to {request[:60]}"):
                break
            checks.equal((response.status, response.body), (200, b"good"), f"{request[:60]}")
            checks.ok("connection" not in response.fields, f"kept alive after {request[:60]}")
    for length in (4096, 4097):  # of the request line, with its CR
        with Wire(server) as wire:
            line = b"GET /good?" + b"q" * (length - 20) + b" HTTP/1.1\r"
            wire.send(line + b"\nHost: h\r\n\r\n")
            expected = 200 if len(line) <= 4096 else 414
            checks.equal(wire.response().status, expected, f"a line of {len(line)} bytes")
    checks.equal(server.stop(), 0, "exit status")


def methods_are_get_and_head(checks, arguments, scratch):
    root = os.path.join(scratch, "methods")
    write_file(root, "good", data=b"good")
    server = serve(arguments, root)
    with Wire(server) as wire:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            response = wire.ask("/good", "Content-Length: 4", method=method, body=b"body")
            checks.equal(response.status, 405, method)
            checks.equal(response.fields.get("allow"), "GET, HEAD", method)
        wire.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nCONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n")
        checks.equal(wire.response().status, 405, "OPTIONS *")
        checks.equal(wire.response().status, 405, "CONNECT")
        for method in ("get", "FROB", "GETX", "G"):
            checks.equal(wire.ask("/good", method=method).status, 501, method)
        for path in ("/good", "/", "/missing", "/.."):
            got = wire.ask(path)
            head = wire.ask(path, method="HEAD")
            for fields in (got.fields, head.fields):
                fields.pop("date")
            checks.equal((head.status, head.fields), (got.status, got.fields), f"HEAD {path}")
        wire.send(b"HEAD /good HTTP/1.1\r\n\r\n")
        checks.equal(wire.response(has_body=False).status, 400, "a refused HEAD")
        checks.equal(wire.ends(), b"", "has no body either")
    checks.equal(server.stop(), 0, "exit status")


def connections_are_kept_or_closed(checks, arguments, scratch):
    """By version, by what the client says, by what the server must."""
    curl = need_tool("curl")
    root = os.path.join(scratch, "kept")
    write_file(root, "good", data=b"good")
    server = serve(arguments, root)
    count = 100
    told = subprocess.run(
        [curl, "-sS", "-w", "%{num_connects} %{local_port}\n", "-o", os.devnull,
         f"{server.url}good?[1-{count}]"],
        capture_output=True, check=False)
    rows = [line.split() for line in told.stdout.decode().splitlines()]
    checks.equal(len(rows), count, "transfers")
    checks.equal(sum(int(row[0]) for row in rows), 1, "connections made")
    checks.equal(len({row[1] for row in rows}), 1, "ports used")

    rows = [  # version, Connection lines, kept, what the answer says
        ("1.1", [], True, None),
        ("1.1", ["Connection: keep-alive"], True, None),
        ("1.1", ["Connection: close"], False, "close"),
        ("1.1", ["Connection: CLOSE"], False, "close"),
        ("1.1", ["Connection: te, close"], False, "close"),
        ("1.1", ["Connection: te", "Connection: close"], False, "close"),
        ("1.1", ["Connection: closed"], True, None),
        ("1.0", [], False, "close"),
        ("1.0", ["Connection: keep-alive"], True, "keep-alive"),
        ("1.0", ["Connection: Keep-Alive, close"], False, "close"),
    ]
    for version, lines, kept, said in rows:
        with Wire(server) as wire:
            head = "\r\n".join([f"GET /good HTTP/{version}", "Host: h", *lines, "", ""])
            wire.send(head.encode())
            response = wire.response()
            checks.equal(response.body, b"good", f"{version} {lines}")
            checks.equal(response.fields.get("connection"), said, f"{version} {lines}")
            if kept:
                checks.equal(wire.ask("/good").body, b"good", f"kept: {version} {lines}")
            else:
                checks.equal(wire.ends(), b"", f"closed: {version} {lines}")
    with Wire(server) as wire:  # told the end at once, a client may or may not send its body
        response = wire.ask("/good", "Expect: 100-continue", "Content-Length: 5")
        checks.equal((response.status, response.fields.get("connection")), (200, "close"), "Expect")
        checks.equal(wire.ends(), b"", "the end after it")
    with Wire(server) as wire:  # a client that has said all it will say still gets its answer
        wire.send(GOOD + GOOD)
        wire.socket.shutdown(1)
        for _ in range(2):
            checks.equal(wire.response().body, b"good", "half-closed")
        checks.equal(wire.ends(), b"", "and then the end")
    with Wire(server) as wire:
        wire.send(GOOD[:20])
        wire.socket.shutdown(1)
        checks.equal(wire.ends(), b"", "half a request, and then the end")
    checks.equal(server.stop(), 0, "exit status")


def pipelined_requests_are_answered_in_order(checks, arguments, scratch):
    root = os.path.join(scratch, "pipelined")
    count = 60 if arguments.small else 300
    bodies = {f"/{i}": bytes([i % 251]) * (i * 37 % 5000) for i in range(count)}
    for path, body in bodies.items():
        write_file(root, path[1:], data=body)
    server = serve(arguments, root)
    requests = [f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for path in bodies]
    stream = b"".join(requests)
    for cut in (len(stream), 1000, 37):  # all at once, and in pieces that fit no request
        with Wire(server) as wire:
            for start in range(0, len(stream), cut):
                wire.send(stream[start:start + cut])
            right = sum(wire.response().body == body for body in bodies.values())
            checks.equal(right, count, f"right answers, in pieces of {cut}")
    lure = b"GET /7 HTTP/1.1\r\nHost: h\r\n\r\n"
    mixed = (b"HEAD /5 HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /missing HTTP/1.1\r\nHost: h\r\n\r\n",
             b"POST /5 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(lure), lure),
             b"GET /6 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", lure)
    with Wire(server) as wire:
        wire.send(b"".join(mixed))
        checks.equal(wire.response(has_body=False).status, 200, "HEAD in the pipeline")
        checks.equal(wire.response().status, 404, "a missing file in the pipeline")
        checks.equal(wire.response().status, 405, "a body that looks like a request")
        checks.equal(wire.response().body, bodies["/6"], "the one that closes")
        checks.equal(wire.ends(), b"", "what came after it is not answered")
    checks.equal(server.stop(), 0, "exit status")


SECRET = b"the secret outside"
ESCAPING = r"""
    /../secret /.. /../ /./../secret /a/../../secret /a/b/../../../secret //../secret
    /a//../../secret /%2e%2e/secret /%2E%2E/secret /.%2e/secret /%2e./secret
    /a/%2e%2e/%2e%2e/secret /..%2fsecret /..%2Fsecret /%2e%2e%2fsecret /a/..%2f..%2fsecret
    /%2fsecret /a%2f..%2f..%2fsecret /%252e%252e/secret /%252e%252e%252fsecret
    /%25%32%65%25%32%65/secret /..%252fsecret /%%32%65%%32%65/secret /..%00/secret /%00/../secret
    /secret%00 /a%00/../../secret /..\secret /..%5csecret /%5c..%5csecret /a\..\..\secret
    /..;/secret /%c0%ae%c0%ae/secret /%c0%ae%c0%ae%c0%afsecret /%e0%80%ae%e0%80%ae/secret
    /%u002e%u002e/secret /% /%2 /%zz /%2e%2 /a/%-1 /out /out-absolute /up/secret
    /up-absolute/secret /up /up/ /a/out /a/deep/up/secret /chain /root-link/etc/passwd /magic
    /magic/secret /magic-root/etc/passwd /self-fd /index-out/ /loop /loop/x /dangling
    http://h/../secret http://h/%2e%2e/secret /a/../up/secret /a/.. /etc/passwd //etc/passwd
    /a/../etc/passwd /~root /proc/self/environ
""".split()


def make_maze(scratch, name):
    """A directory to serve, with ways out of it, and a secret beside it."""
    outside = os.path.join(scratch, name)
    root = os.path.join(outside, "root")
    write_file(outside, "secret", data=SECRET)
    write_file(root, "a", "b", "inside", data=b"inside")
    write_file(root, "a", "deep", "file", data=b"inside")
    write_file(root, "%2e%2e", "name", data=b"inside")
    os.mkdir(os.path.join(root, "index-out"))
    links = {
        "out": "../secret",
        "out-absolute": os.path.join(outside, "secret"),
        "up": "..",
        "up-absolute": outside,
        "a/out": "../../secret",
        "a/deep/up": "../../..",
        "chain": "a/out",
        "root-link": "/",
        "magic": "/proc/self/cwd",
        "magic-root": "/proc/self/root",
        "self-fd": "/proc/self/fd/3",
        "index-out/index.html": "../../secret",
        "loop": "loop",
        "dangling": "nothing",
        "in": "a/b/inside",
        "a/in": "../a/b/inside",
        "a-link": "a",
        "absolute-in": os.path.join(root, "a", "b", "inside"),
    }
    for link, target in links.items():
        os.symlink(target, os.path.join(root, link))
    return root


def no_path_leads_out(checks, arguments, scratch):
    root = make_maze(scratch, "maze")
    for options in ([], ["--no-symlinks"]):
        server = serve(arguments, root, *options)
        for path in ESCAPING:
            for method in ("GET", "HEAD"):
                with Wire(server) as wire:
                    what = f"{method} {path} {options}"
                    response = wire.ask(path, "Connection: close", method=method)
                    if not checks.ok(response is not None, f"an answer: {what}"):
                        continue
                    rest = wire.ends()
                    checks.ok(response.status in (301, 400, 403, 404) or
                              (response.status == 200 and path in ("/a/..", "/index-out/")),
                              f"{what}: {response.status}")
                    checks.ok(SECRET not in response.body + rest and b"root:" not in response.body,
                              f"{what}: the secret came out")
                    checks.ok(response.fields.get("location", "./").startswith("./"), what)
                    length = response.fields["content-length"]
                    checks.ok(length != str(len(SECRET)), f"{what}: the secret's length")
        with Wire(server) as wire:
            checks.equal(wire.ask("/a/b/inside").body, b"inside", "what is inside")
            checks.equal(wire.ask("/%252e%252e/name").body, b"inside", "decoded exactly once")
            for path in ("/in", "/a/in", "/a-link/b/inside"):
                response = wire.ask(path)
                expected = (404, b"404 Not Found\n") if options else (200, b"inside")
                checks.equal((response.status, response.body), expected, f"{path} {options}")
            checks.equal(wire.ask("/absolute-in").status, 404, "an absolute link, even to inside")
        checks.equal(server.stop(), 0, "exit status")


run(
    [
        malformed_requests_are_refused,
        what_is_odd_but_right_is_answered,
        methods_are_get_and_head,
        connections_are_kept_or_closed,
        pipelined_requests_are_answered_in_order,
        no_path_leads_out,
    ],
    ["httpd"],
)
