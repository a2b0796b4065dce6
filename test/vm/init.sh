#!/bin/sh
# Process 1 of the guest that runs tests: runs every suite and turns the machine off.
. /machine
export NARU_MAY_SET_CLOCK=1 # nobody else's

# suite runs the test program in folder $1; $2 chooses the tests.
suite() {
    echo "@@begin $1"
    (cd "/suite/$1" && ./test -test.v -test.timeout 10m ${2:+-test.run "$2"} 2>&1)
    status=$?
    echo
    echo "@@end $1 $status"
}
. /suites

sync
poweroff -f
