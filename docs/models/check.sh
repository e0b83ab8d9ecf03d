#!/bin/bash
#
# Check the Spin models: each must hold in every state, and each mutant named in its head must not.
#
#   check.sh          all models and mutants
#   check.sh --full   and the larger sizes (a minute or two, 1 GB)
#   check.sh MODEL... these models and their mutants: check.sh wake timer
#
# Needs spin and gcc.  Exits 77 where spin is missing.
set -u

here=$(cd "$(dirname "$0")" && pwd)
models=
full=no
passed=0
failed=0

for argument in "$@"; do
    case $argument in
    --full) full=yes ;;
    -*) echo "usage: check.sh [--full] [MODEL...]" >&2; exit 2 ;;
    *)
        if [ ! -f "$here/$argument.pml" ]; then
            echo "no such model: $argument" >&2
            exit 2
        fi
        models="$models $argument"
        ;;
    esac
done
models=${models:-wake timer task delete sleep_host remote op watch}
for tool in spin gcc; do
    if ! command -v "$tool" > /dev/null; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1

# explore MODEL OPTIMISATION HASH [-DNAME...]: all states of one variant.  pan writes ./report.
explore()
{
    local model=$1 optimisation=$2 hash=$3
    shift 3

    rm -f pan pan.* ./*.trail report
    spin "$@" -a "$here/$model.pml" > report 2>&1 || return 1
    # The generated code is not ours: no warnings.
    gcc -w "$optimisation" -DSAFETY -DMEMLIM=2048 -o pan pan.c >> report 2>&1 || return 1
    ./pan -m1000000 "$hash" > report 2>&1
}

# All states were seen and none is wrong.
holds()
{
    grep -q 'errors: 0$' report || return 1
    ! grep -q 'search depth too small\|out of memory\|aborting' report
}

states()
{
    awk '/states, stored$/ { print $1 }' report
}

count()
{
    if [ "$1" = ok ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

# must_hold MODEL [-DNAME=VALUE]
must_hold()
{
    local verdict=FAILED

    explore "$1" -O1 -w24 "${@:2}" && holds && verdict=ok
    printf '%-7s %-11s %-28s %s states\n' "$verdict" "$1" "${2:-}" "$(states)"
    if [ $verdict != ok ]; then
        grep -v '^$' report | head -n 20
        # How it came to that: the last steps.
        spin "${@:2}" -p -g -k "$1.pml.trail" "$here/$1.pml" 2> /dev/null | tail -n 60
    fi
    count $verdict
}

# must_fail MODEL MUTANT
must_fail()
{
    local verdict=FAILED what='it was not caught'

    # Caught: an assertion, or an end state that is none.  Anything else is a broken check.
    if explore "$1" -O0 -w18 "-D$2" && grep -q 'errors: 1$' report; then
        what=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' report)
        if [ -n "$what" ]; then
            verdict=ok
        fi
    fi
    printf '%-7s %-11s %-28s %s\n' "$verdict" "$1" "$2" "$what"
    if [ $verdict != ok ]; then
        grep -v '^$' report | head -n 20
    fi
    count $verdict
}

mutants()
{
    sed -n '/^ \* Mutants:/,/^ \*\//p' "$here/$1.pml" | grep -o '[A-Z][A-Z_]*[A-Z]'
}

larger()
{
    case $1 in
    wake) echo "-DINTERRUPTS=2 -DWAKES=3" ;;
    timer) echo "-DMOVES=3" ;;
    task) echo "-DWAKES=2" ;;
    delete) echo "-DBATCHES=3 -DOPENS=3" ;;
    sleep_host) echo "-DWAKES=3" ;;
    remote) echo "-DITEMS=3 -DINTERRUPTS=2" ;;
    esac
}

for model in $models; do
    must_hold "$model"
    if [ $full = yes ]; then
        for size in $(larger "$model"); do
            must_hold "$model" "$size"
        done
    fi
    for mutant in $(mutants "$model"); do
        must_fail "$model" "$mutant"
    done
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
