#!/usr/bin/env bash
# Serve a directory with httpd, fetch from it with curl, show what came, and go on serving.
#
#   demo.sh HTTPD [DIR] [--once] [--backend NAME]
#
# HTTPD is the program; DIR is by default the project's docs.  Without --once it serves until
# Ctrl-C.  The exit status is 0 only if every fetch gave what it should and the server ended
# cleanly.
set -euo pipefail

usage() {
    echo "usage: demo.sh HTTPD [DIR] [--once] [--backend NAME]" >&2
    exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
httpd=
directory=
once=no
backend=()
while [ $# -gt 0 ]; do
    case $1 in
    --once) once=yes ;;
    --backend)
        [ $# -ge 2 ] || usage
        backend=(--backend "$2")
        shift
        ;;
    -*) usage ;;
    *)
        if [ -z "$httpd" ]; then
            httpd=$1
        elif [ -z "$directory" ]; then
            directory=$1
        else
            usage
        fi
        ;;
    esac
    shift
done
[ -n "$httpd" ] || usage
directory=${directory:-$(dirname "$here")}
if ! command -v curl >/dev/null; then
    echo "demo.sh: curl is needed to fetch something" >&2
    exit 1
fi

scratch=$(mktemp -d)
server_pid=
failed=0

# A process group of its own: Ctrl-C is for this script, which then ends the server in order.
set -m

stop_server() {
    if [ -n "$server_pid" ]; then
        kill -TERM "$server_pid" 2>/dev/null || true
        wait "$server_pid" || failed=1
        server_pid=
    fi
}

finish() {
    stop_server
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

mkfifo "$scratch/says"
"$httpd" --port 0 ${backend[@]+"${backend[@]}"} "$directory" >"$scratch/says" &
server_pid=$!
if ! read -r line <"$scratch/says"; then
    echo "demo.sh: the server did not start" >&2
    exit 1
fi
url=${line#listening on }
echo "$line, serving $directory"

# fetch STATUS WHAT [CURL ARGUMENT...]: the body goes to $scratch/body, the head to $scratch/head.
fetch() {
    local expected=$1 what=$2 status
    shift 2
    : >"$scratch/head"
    : >"$scratch/body"
    status=$(curl -sS --max-time 20 -D "$scratch/head" -o "$scratch/body" -w '%{http_code}' "$@") ||
        status="curl failed"
    echo
    echo "--- $what: $status, $(wc -c <"$scratch/body") bytes of body"
    sed -e 's/\r$//' -e '/^$/d' -e 's/^/    /' "$scratch/head"
    check "the status should be $expected" [ "$status" = "$expected" ]
}

check() {
    local what=$1
    shift
    if ! "$@"; then
        echo "demo.sh: FAILED: $what" >&2
        failed=1
    fi
}

head_line() {
    tr -d '\r' <"$scratch/head" | sed -n "s/^$1: //p"
}

fetch 200 "GET /" "$url"
head -c 300 "$scratch/body" | sed 's/^/    | /'
echo

# One file of the directory, whatever it is, with a name that needs no encoding.
file=$(cd "$directory" && find . -maxdepth 2 -type f -size -1000k -size +0 |
    grep -E '^\./[A-Za-z0-9][A-Za-z0-9._/-]*$' | LC_ALL=C sort | sed -n 1p) || file=
if [ -n "$file" ]; then
    file=${file#./}
    fetch 200 "GET /$file" "$url$file"
    check "the body should be the file" cmp -s "$scratch/body" "$directory/$file"
    modified=$(head_line Last-Modified)

    fetch 200 "HEAD /$file" --head "$url$file"
    size=$(wc -c <"$directory/$file")
    check "HEAD should tell the size" [ "$(head_line Content-Length)" = "$size" ]

    fetch 206 "GET /$file, its first ten bytes" --range 0-9 "$url$file"
    check "they should be the file's" cmp -s "$scratch/body" <(head -c 10 "$directory/$file")
    sed -e 's/^/    | /' "$scratch/body" | tr -cd '[:print:]\n'
    echo

    fetch 304 "GET /$file, if modified since $modified" \
        --header "If-Modified-Since: $modified" "$url$file"
    check "a 304 has no body" [ ! -s "$scratch/body" ]
else
    echo
    echo "there is no file to fetch in $directory"
fi

fetch 404 "GET /no/such/file" "${url}no/such/file"
fetch 400 "GET /../../etc/passwd" --path-as-is "${url}../../etc/passwd"

echo
if [ "$failed" != 0 ]; then
    exit 1
fi
if [ "$once" = yes ]; then
    stop_server
    [ "$failed" = 0 ] || exit 1
    echo "every fetch gave what it should"
    exit 0
fi
# A signal that comes now ends the server, and the wait with it; the wait after that tells how.
trap 'kill -TERM "$server_pid" 2>/dev/null || true' INT TERM
echo "serving on $url until Ctrl-C"
wait "$server_pid" || wait "$server_pid" || failed=1
server_pid=
[ "$failed" = 0 ]
