#!/bin/sh
# Deploys examples/guestbook on this machine with the naru given as $1, starting its daemon when none runs, and shows
# one request answered through the router. HTTP=:8080 makes a daemon that has to be started listen elsewhere than :80.
set -eu

naru=$1
http=${HTTP:-:80}
log=/var/lib/naru/server.log

# start runs the daemon in a session of its own, so that it outlives this script, and waits until it answers.
start() {
    [ "$(id -u)" = 0 ] || { echo "make demo: starting the naru daemon needs root" >&2; exit 1; }
    mkdir -p "$(dirname "$log")"
    setsid "$naru" server --http "$http" >>"$log" 2>&1 </dev/null &
    pid=$!
    until "$naru" apps >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || { echo "the daemon ended at once; its log, $log:" >&2; tail -n 20 "$log" >&2; exit 1; }
        sleep 0.1
    done
    echo "started the naru daemon (pid $pid, log $log)"
}

get() { # url host
    if command -v curl >/dev/null; then
        curl -fsS -H "Host: $2" "$1"
    else
        wget -q -O - --header "Host: $2" "$1"
    fi
}

"$naru" apps >/dev/null 2>&1 || start
"$naru" up examples/guestbook

port=${http##*:}
host=guestbook.localhost
[ "$port" = 80 ] || host=$host:$port
echo
echo "http://$host/ answers:"
get "http://127.0.0.1:$port/" "$host" | head -n 20
