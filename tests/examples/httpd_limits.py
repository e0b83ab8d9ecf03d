#!/usr/bin/env python3
"""httpd keeps its limits: of time, of connections, of descriptors; and it stops in order."""

import errno
import os
import random
import resource
import select
import signal
import socket
import time

from harness import WATCHDOG_SECONDS, Wire, run, serve, until, write_file

GOOD = b"GET /good HTTP/1.1\r\nHost: h\r\n\r\n"
HOUR = "1000000"  # in milliseconds, more or less: a timeout that does not come


def make_root(scratch, name):
    root = os.path.join(scratch, name)
    write_file(root, "good", data=b"good")
    return root


def processor_share(server, seconds=1.0):
    """How much of a processor the server takes while nobody asks it for anything."""
    used = server.processor_seconds()
    start = time.monotonic()
    select.select([], [], [], seconds)  # what is measured is a stretch of time
    return (server.processor_seconds() - used) / (time.monotonic() - start)


def idle_connections_cost_nobody(checks, arguments, scratch):
    """Hundreds are open; others are served; the stop ends all of them at once."""
    count = 100 if arguments.small else 500
    server = serve(arguments, make_root(scratch, "idle"), "--idle-ms", HOUR, "--header-ms", HOUR)
    before = server.descriptors()
    idle = [Wire(server) for _ in range(count)]
    checks.ok(until(server, lambda: server.descriptors() >= before + count), "all are accepted")
    with Wire(server) as wire:
        for _ in range(20):
            checks.equal(wire.ask("/good").body, b"good", "beside the idle ones")
    checks.ok(processor_share(server) < 0.1, "the idle ones take no processor time")
    checks.equal(sum(wire.is_silent() for wire in idle), count, "idle ones left alone")
    half = len(idle) // 2
    for wire in idle[:half]:
        wire.close()
    checks.ok(until(server, lambda: server.descriptors() <= before + count - half + 1),
              "closed ones are given up")
    checks.equal(idle[-1].ask("/good").body, b"good", "one that was idle may still ask")
    server.signal()
    checks.equal(sum(wire.ends() == b"" for wire in idle[half:]), count - half, "ended by the stop")
    checks.equal(server.wait(), 0, "exit status")
    for wire in idle:
        wire.close()


def idle_connections_are_closed_in_time(checks, arguments, scratch):
    count = 100 if arguments.small else 500
    root = make_root(scratch, "timeout")
    server = serve(arguments, root, "--idle-ms", "400", "--header-ms", HOUR)
    before = server.descriptors()
    start = time.monotonic()
    idle = [Wire(server) for _ in range(count)]
    checks.equal(sum(wire.ends() == b"" for wire in idle), count, "closed without a word")
    checks.ok(time.monotonic() - start >= 0.4, "not before the time was over")
    with Wire(server) as wire:
        checks.equal(wire.ask("/good").body, b"good", "an answer")
        answered = time.monotonic()
        checks.equal(wire.ends(), b"", "closed after it")
        checks.ok(time.monotonic() - answered >= 0.39, "when it was idle long enough, not before")
    checks.ok(until(server, lambda: server.descriptors() <= before + 1), "no descriptor is left")
    checks.equal(server.stop(), 0, "exit status")
    for wire in idle:
        wire.close()


def dribble(wire, data):
    """Send data a byte at a time, each after a pause, until an answer comes; how many were sent."""
    for i, byte in enumerate(data):
        if select.select([wire.socket], [], [], 0.03)[0]:
            return i
        wire.send(bytes([byte]))
    return len(data)


def slow_senders_are_cut_off(checks, arguments, scratch):
    server = serve(arguments, make_root(scratch, "slow"), "--idle-ms", HOUR, "--header-ms", "500")
    with Wire(server) as wire:  # small pieces are no sin
        for byte in GOOD * 20:
            wire.send(bytes([byte]))
        right = sum(wire.response().body == b"good" for _ in range(20))
        checks.equal(right, 20, "answers to requests that came byte by byte")
    start = time.monotonic()
    stalled = []
    half_a_body = GOOD[:-2] + b"Content-Length: 5\r\n\r\nhell"
    for begun in (b"G", GOOD[:-1], b"\r\n", half_a_body):
        stalled.append((begun, Wire(server)))
        stalled[-1][1].send(begun)
    with Wire(server) as wire:
        checks.equal(wire.ask("/good").body, b"good", "beside the slow ones")
    for begun, wire in stalled:
        response = wire.response()
        checks.equal(response.status if response else None, 408, f"after {begun}")
        checks.equal(response.fields.get("connection"), "close", f"after {begun}")
        checks.equal(wire.ends(), b"", f"the end after {begun}")
        wire.close()
    checks.ok(time.monotonic() - start >= 0.5, "not before the time was over")
    with Wire(server) as wire:  # each byte comes in time, the whole does not
        sent = dribble(wire, b"GET /good HTTP/1.1\r\n" + b"A: b\r\n" * 200)
        checks.ok(sent < 1000, f"{sent} bytes were taken one by one")
        checks.equal(wire.response().status, 408, "one that dribbles")
    with Wire(server) as wire:  # each request has its own time
        wire.ask("/good")
        checks.ok(not select.select([wire.socket], [], [], 0.7)[0], "no time runs between requests")
        checks.equal(wire.ask("/good").body, b"good", "the next request")
    checks.equal(server.stop(), 0, "exit status")


def slow_readers_delay_nobody(checks, arguments, scratch):
    root = make_root(scratch, "readers")
    data = random.Random(1).randbytes((2 if arguments.small else 8) << 20)
    write_file(root, "large", data=data)
    server = serve(arguments, root, "--idle-ms", HOUR)
    slow = [Wire(server, receive_buffer=4096) for _ in range(8)]
    for wire in slow:
        wire.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
    with Wire(server) as wire:
        for _ in range(10):
            checks.equal(wire.ask("/good").body, b"good", "beside the slow readers")
        checks.ok(wire.ask("/large").body == data, "a fast reader")
    checks.ok(processor_share(server) < 0.1, "waiting readers take no processor time")
    checks.ok(slow[0].response().body == data, "one that reads after all")
    for wire in slow:
        wire.close()
    checks.equal(server.stop(), 0, "exit status")


def readers_that_take_nothing_are_cut_off(checks, arguments, scratch):
    root = make_root(scratch, "stuck")
    write_file(root, "large", data=bytes(16 << 20))
    server = serve(arguments, root, "--idle-ms", "400")
    with Wire(server, receive_buffer=4096) as wire:
        start = time.monotonic()
        wire.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        poll = select.poll()
        poll.register(wire.socket, 0)  # a reset only, and not what there is to read
        checks.ok(poll.poll(WATCHDOG_SECONDS * 1000), "it is broken off")
        checks.ok(time.monotonic() - start >= 0.4, "not before the time was over")
    checks.equal(server.stop(), 0, "exit status")


def readers_that_are_only_slow_get_it_all(checks, arguments, scratch):
    """The time that a client may take nothing begins anew whenever it takes something."""
    root = make_root(scratch, "paced")
    size = 48 << 20
    with open(os.path.join(root, "large"), "wb") as stream:
        stream.truncate(size)
    server = serve(arguments, root, "--idle-ms", "1500")
    with Wire(server, receive_buffer=1 << 16) as wire:
        start = time.monotonic()
        wire.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        got = 0
        while piece := wire.socket.recv(1 << 16):
            got += len(piece)
            if got > size:
                break
            # 1.5 MiB in each tenth of a second: the whole takes two of those times.
            due = start + got / (15 << 20)
            select.select([], [], [], max(0, due - time.monotonic()))
        checks.ok(got > size, f"{got} bytes came of {size} and a head")
        checks.ok(time.monotonic() - start >= 3, "slowly")
    checks.equal(server.stop(), 0, "exit status")


def connections_are_capped(checks, arguments, scratch):
    cap = 8
    root = make_root(scratch, "cap")
    server = serve(arguments, root, "--connections-max", str(cap), "--idle-ms", HOUR)
    start = server.descriptors()
    inside = [Wire(server) for _ in range(cap)]
    for wire in inside:
        checks.equal(wire.ask("/good").body, b"good", "one of those inside")
    waiting = [Wire(server) for _ in range(5)]
    for wire in waiting:
        wire.send(GOOD)
    for _ in range(50):  # each answer is a turn in which the others could have been taken
        inside[0].ask("/good")
    checks.equal(sum(wire.is_silent() for wire in waiting), len(waiting), "waiting outside")
    checks.ok(server.descriptors() <= start + cap + 1, "those inside, and a file at most")
    for i, wire in enumerate(waiting):
        inside[i].close()
        response = wire.response()
        checks.equal(response.body if response else None, b"good", "one goes, one comes")
        checks.ok(all(other.is_silent() for other in waiting[i + 1:]), "and not two")
    server.signal()
    checks.equal(server.wait(), 0, "exit status, at the cap")
    for wire in inside + waiting:
        wire.close()


def running_out_of_descriptors_is_survived(checks, arguments, scratch):
    server = serve(arguments, make_root(scratch, "emfile"), "--idle-ms", HOUR)
    limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    with Wire(server) as wire, Wire(server) as other:
        checks.equal(wire.ask("/good").status, 200, "before")
        checks.equal(other.ask("/good").status, 200, "before")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, limit[1]))  # 0, 1 and 2 are open
        outside = Wire(server)
        outside.send(GOOD)
        for _ in range(100):
            checks.equal(wire.ask("/good").status, 503, "a file without a descriptor for it")
        other.send(GOOD)
        checks.equal(other.response().status, 503, "on another connection")
        checks.ok(outside.is_silent(), "a connection without one waits")
        checks.ok(processor_share(server) < 0.1, "nobody spins")
        checks.ok(outside.is_silent(), "and it still waits")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
        response = outside.response()  # nothing but the server's own timer brings this about
        checks.equal(response.body if response else None, b"good", "taken when there are some")
        checks.equal(wire.ask("/good").body, b"good", "and files are back")
        outside.close()
    checks.equal(server.stop(), 0, "exit status")


def connects(server):
    try:
        socket.create_connection(server.address, WATCHDOG_SECONDS).close()
        return True
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.ECONNRESET):
            raise
        return False


def stop_finishes_what_is_under_way(checks, arguments, scratch):
    root = make_root(scratch, "stop")
    data = random.Random(2).randbytes(16 << 20)
    write_file(root, "large", data=data)
    for number in (signal.SIGTERM, signal.SIGINT):
        server = serve(arguments, root, "--idle-ms", HOUR, "--header-ms", HOUR)
        with Wire(server, receive_buffer=4096) as busy, Wire(server) as idle, Wire(server) as begun:
            idle.ask("/good")
            begun.send(GOOD[:10])
            busy.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" + GOOD)
            busy.ahead = busy.receive()  # the answer has begun, and fits no buffer
            server.signal(number)
            checks.equal(idle.ends(), b"", "the idle one ends at once")
            while connects(server):
                pass
            checks.equal(server.process.poll(), None, "it waits for the others")
            begun.send(GOOD[10:])
            response = begun.response()
            checks.equal(response.body, b"good", "a request that had begun")
            checks.equal(response.fields.get("connection"), "close", "is its connection's last")
            checks.equal(begun.ends(), b"", "which then ends")
            checks.ok(busy.response().body == data, "the answer under way comes whole")
            response = busy.response()
            checks.equal(response.body if response else None, b"good", "what had come is answered")
            checks.equal(response.fields.get("connection"), "close", "and is the last")
            checks.equal(busy.ends(), b"", "then it ends")
        checks.equal(server.wait(), 0, "exit status")


def stop_answers_what_waits_to_be_accepted(checks, arguments, scratch):
    count = 40  # more than the acceptor takes in one poll
    server = serve(arguments, make_root(scratch, "queue"), "--idle-ms", HOUR, "--header-ms", HOUR)
    server.signal(signal.SIGSTOP)  # so that all are in the kernel's queue when the signal comes
    waiting = [Wire(server) for _ in range(count)]
    for wire in waiting:
        wire.send(GOOD)
    server.signal()
    server.signal(signal.SIGCONT)
    for wire in waiting:
        response = wire.response()
        checks.equal(response.body if response else None, b"good", "one that was in the queue")
        checks.equal(wire.ends(), b"", "and it was the last there")
        wire.close()
    checks.equal(server.wait(), 0, "exit status")


def a_second_signal_stops_at_once(checks, arguments, scratch):
    root = make_root(scratch, "second")
    write_file(root, "large", data=bytes(16 << 20))
    server = serve(arguments, root, "--idle-ms", HOUR)
    with Wire(server, receive_buffer=4096) as busy, Wire(server) as idle:
        idle.ask("/good")
        busy.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        busy.receive()
        server.signal()
        checks.equal(idle.ends(), b"", "the first one has come through")
        server.signal()
        checks.equal(server.wait(expected=1), 1, "exit status")


def nothing_is_left_open(checks, arguments, scratch):
    """After every kind of end the server holds the descriptors it had, and no more memory."""
    root = make_root(scratch, "left")
    write_file(root, "large", data=bytes(4 << 20))
    server = serve(arguments, root)
    rounds = 20 if arguments.small else 100
    start = server.descriptors()
    before = None
    for i in range(rounds):
        with Wire(server) as whole, Wire(server) as gone, Wire(server) as refused:
            gone.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
            refused.send(b"\x00")
            whole.ask("/good", "Connection: close")
            refused.response()
        with Wire(server) as half:
            half.send(GOOD[:20])
        with Wire(server) as breaking:
            breaking.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
            breaking.receive()
            breaking.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if i == rounds // 2:
            before = server.resident_bytes()
    after = server.resident_bytes()
    grown = after - before
    bound = (64 if arguments.small else 4) << 20  # a sanitizer keeps what was freed for a while
    checks.ok(grown < bound, f"resident memory grew by {grown} bytes")
    checks.ok(until(server, lambda: server.descriptors() == start + 1), "descriptors are left open")
    checks.equal(server.stop(), 0, "exit status, which tells of leaks in a build with ASan")


run(
    [
        idle_connections_cost_nobody,
        idle_connections_are_closed_in_time,
        slow_senders_are_cut_off,
        slow_readers_delay_nobody,
        readers_that_take_nothing_are_cut_off,
        readers_that_are_only_slow_get_it_all,
        connections_are_capped,
        running_out_of_descriptors_is_survived,
        stop_finishes_what_is_under_way,
        stop_answers_what_waits_to_be_accepted,
        a_second_signal_stops_at_once,
        nothing_is_left_open,
    ],
    ["httpd"],
)
