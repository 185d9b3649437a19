#!/bin/bash
# The smoke test in guests: Linux 6.1 with the system-call hooks, 6.12 with the socket hooks. Needs root.
#
# In: the sidelight binary (first argument). Out: one line `test NAME ... ok` or `FAILED` for each kernel and a summary line as
# cargo's test runner writes it.
set -u
here=$(dirname "$(realpath "$0")")
binary=$(realpath -e -- "$1") || exit 1
passed=0 failed=0
for guest in 6.1:syscall 6.12:socket; do
    kernel=${guest%:*} mechanism=${guest#*:}
    name="guest $kernel, --attach $mechanism"
    "$here/vm-run" --list | grep -q "^${kernel//./\\.}[.]" || "$here/vm-run" --fetch "$kernel"
    if "$here/vm-run" -t 300 "$kernel" -- /usr/bin/python3 "$here/smoke.py" "$binary" "$mechanism"; then
        echo "test $name ... ok"
        passed=$((passed + 1))
    else
        echo "test $name ... FAILED"
        failed=$((failed + 1))
    fi
done
[ $failed = 0 ] && result=ok || result=FAILED
echo "test result: $result. $passed passed; $failed failed; 0 ignored"
[ $failed = 0 ]
