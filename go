#!/usr/bin/env bash
#
# What people type: sets up what is missing, builds with meson, runs.  ./go help lists the verbs.
#
# On Debian what is missing is installed with apt-get (as root, or by sudo); elsewhere this says
# what to install.  All that is built goes under build/.

set -euo pipefail
here=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"

usage() {
    cat <<'END'
./go demo [DIR] [--once]   build the example web server, serve DIR (default: the docs) until Ctrl-C;
                           --once: fetch from it, show what came, and end
./go test [--budget]       build and test everything, also sanitized; --budget: a table of times
./go test quick            gcc, unit tests, conformance on epoll, tidy
./go test --list | STEP    name the steps of ./go test; run some of them
./go bench [--quick | ...]  build for speed; ask us, the peers and raw code the same questions;
                           --help says what else
./go lint                  tidy, clang-format, clang-tidy
./go soak                  the conformance suite and the races, many times over
./go mutants [PATCH ...]   check that the suite catches each broken variant in tests/mutants/
./go models                check the Spin models
./go windows               build the Windows part with mingw-w64, run its tests under Wine
./go clean                 remove build/
END
}

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Is the Debian package $1, or the like of it elsewhere, installed?
installed() {
    case $1 in
    libc6-dev) [ -e /usr/include/stdio.h ] ;;
    libc6-dbg) [ -d /usr/lib/debug/.build-id ] ;;
    liburing-dev) [ -e /usr/include/liburing.h ] || { have pkg-config && pkg-config liburing; } ;;
    libuv1-dev) [ -e /usr/include/uv.h ] || { have pkg-config && pkg-config libuv; } ;;
    libglib2.0-dev) have pkg-config && pkg-config glib-2.0 ;;
    libev-dev) [ -e /usr/include/ev.h ] ;;
    libevent-dev) have pkg-config && pkg-config libevent_core ;;
    libasio-dev) [ -e /usr/include/asio.hpp ] ;;
    libcmocka-dev) [ -e /usr/include/cmocka.h ] || { have pkg-config && pkg-config cmocka; } ;;
    ninja-build) have ninja ;;
    fuse3) have fusermount3 ;;
    gcc-mingw-w64-x86-64) have x86_64-w64-mingw32-gcc ;;
    wine64) have wine64 || [ -x /usr/lib/wine/wine64 ] ;;
    *) have "$1" ;;
    esac
}

# need PACKAGE ...: see to it that they are there.
need() {
    local package missing=() sudo=()

    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    if ! [ -e /etc/debian_version ] || ! have apt-get; then
        say "go: please install these, named here as Debian does: ${missing[*]}"
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! have sudo; then
            say "go: as root, please: apt-get install ${missing[*]}"
            exit 1
        fi
        sudo=(sudo)
    fi
    say "go: installing ${missing[*]}"
    mkdir -p build
    if ! { "${sudo[@]}" apt-get update &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "${missing[@]}"; } \
        </dev/null >build/apt.log 2>&1; then
        cat build/apt.log >&2
        exit 1
    fi
}

BUILDING=(gcc libc6-dev liburing-dev meson ninja-build pkg-config)
PEERS=(g++ libuv1-dev libev-dev libevent-dev libasio-dev libglib2.0-dev strace)
TESTING=("${BUILDING[@]}" g++ libcmocka-dev libuv1-dev libglib2.0-dev python3 curl wrk patch strace)

# build FOLDER OPTION ...: set it up if it is not, and compile.
build() {
    local folder=build/$1
    shift
    mkdir -p build
    if ! [ -e "$folder/build.ninja" ]; then
        rm -rf "$folder"
        meson setup "$folder" "$@" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }
    fi
    ninja -C "$folder" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }
}

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
demo)
    need "${BUILDING[@]}" curl
    build demo --buildtype=release -Dtests=false -Dbench=false
    cd "$here"
    exec "$root/docs/examples/demo.sh" "$root/build/demo/docs/examples/httpd" "$@"
    ;;
test)
    case " $* " in
    *" quick "* | *" --list "*) need "${TESTING[@]}" ;;
    *) need "${TESTING[@]}" clang clang-format valgrind libc6-dbg spin fuse3 "${PEERS[@]}" ;;
    esac
    exec python3 tests/run.py "$@"
    ;;
bench)
    need "${BUILDING[@]}" python3
    (need "${PEERS[@]}") || say "go: going on without"
    # meson looks for the peers once: when there are others by now, from the start.
    peers=$(for peer in "${PEERS[@]}"; do installed "$peer" && printf '%s ' "$peer"; done || true)
    if [ "$(cat build/bench/peers 2>/dev/null)" != "$peers" ]; then
        rm -rf build/bench
    fi
    build bench --buildtype=release -Dtests=false -Dexamples=false -Dbench=true
    printf '%s\n' "$peers" >build/bench/peers
    cd "$here"
    exec python3 "$root/bench/run.py" "$@"
    ;;
lint)
    need "${TESTING[@]}" clang clang-format clang-tidy
    exec python3 tests/run.py lint "$@"
    ;;
soak)
    need "${TESTING[@]}"
    exec python3 tests/run.py soak "$@"
    ;;
mutants)
    need "${TESTING[@]}"
    exec python3 tests/mutants.py "$@"
    ;;
models)
    need gcc libc6-dev spin
    exec bash docs/models/check.sh "$@"
    ;;
windows)
    need gcc libc6-dev meson ninja-build python3 clang gcc-mingw-w64-x86-64 wine64
    exec bash tests/windows/wine.sh "$@"
    ;;
clean)
    rm -rf build
    ;;
help | -h | --help)
    usage
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
