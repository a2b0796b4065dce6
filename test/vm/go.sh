#!/bin/sh
# Plays `go build … -o FILE PACKAGE` in the guest, which has no Go: the package was built outside.
while [ $# -gt 1 ]; do
    [ "$1" = -o ] && out=$2
    shift
done
exec cp "/prebuilt/${1##*/}" "$out"
