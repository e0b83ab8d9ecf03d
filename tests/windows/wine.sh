#!/usr/bin/env bash
#
# What ./go windows runs: builds the Windows part with mingw-w64 and runs its tests under Wine.
#
# Two more compilers only look at the sources: clang for 32 bits and for ARM64.  All that is made,
# Wine's prefix too, is under build/windows*.  The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
prefix=$PWD/build/windows-prefix
mkdir -p "$prefix"
cat >build/windows-cross.ini <<END
[binaries]
c = 'x86_64-w64-mingw32-gcc'
ar = 'x86_64-w64-mingw32-ar'
strip = 'x86_64-w64-mingw32-strip'
exe_wrapper = ['env', 'WINEDEBUG=-all', 'WINEPREFIX=$prefix', '$wine']
[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
[properties]
needs_exe_wrapper = true
END

passed=0
failed=0
# check NAME COMMAND ...: one more that passed or failed; its output only if it failed.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "not ok $name"
        printf '%s\n' "$output"
    fi
}

if ! [ -e build/windows/build.ninja ]; then
    rm -rf build/windows
    check configure meson setup build/windows --cross-file build/windows-cross.ini -Dwerror=true \
        -Dexamples=false -Dbench=false
fi
check build ninja -C build/windows

# Compile gates: no program of these is linked or run.
warnings=(-std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wvla -Werror)
for target in i686 aarch64; do
    for source in backends/windows/*.c runtime/os_windows.c; do
        check "$target $source" clang "--target=$target-w64-windows-gnu" \
            -isystem /usr/share/mingw-w64/include -D_WIN32_WINNT=0x0602 "${warnings[@]}" -Iinclude \
            -I. -c -o /dev/null "$source"
    done
done

# The prefix is made by the first program, which takes a while and may say what it likes.
if ! [ -e "$prefix/system.reg" ]; then
    check prefix env WINEDEBUG=-all WINEPREFIX="$prefix" "$wine" cmd /c exit
fi
for suite in wcp-facts windows_epoll_rules windows_eventfd_rules windows_epoll_stress; do
    status=0
    output=$(meson test -C build/windows --no-rebuild --verbose "$suite" 2>&1) || status=$?
    counts=$(grep -Eo '[0-9]+ passed, [0-9]+ failed' <<<"$output" | tail -1 || true)
    if [ -z "$counts" ] || { [ "$status" -ne 0 ] && [[ $counts == *" 0 failed" ]]; }; then
        counts="0 passed, 1 failed"
    fi
    if [ "$status" -ne 0 ]; then
        printf '%s\n' "$output"
    fi
    echo "$suite under Wine: $counts"
    passed=$((passed + ${counts%% *}))
    counts=${counts#*, }
    failed=$((failed + ${counts%% *}))
done
env WINEDEBUG=-all WINEPREFIX="$prefix" "$(dirname "$wine")/wineserver" -k 2>/dev/null ||
    env WINEPREFIX="$prefix" /usr/lib/wine/wineserver64 -k 2>/dev/null || true
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
