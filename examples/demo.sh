#!/bin/sh
# Deploys examples/guestbook on this machine with the naru given as $1, starting its daemon when none runs, and shows
# one request answered through the router. Variables change where a daemon that has to be started keeps its data (DATA),
# has its socket (RUN) and listens (HTTP), and give it more flags (SERVER_FLAGS).
set -eu

naru=$1
data=${DATA:-/var/lib/naru}
run=${RUN:-/run/naru}
http=${HTTP:-:80}
export NARU_HOST="${NARU_HOST:-unix://$run/naru.sock}"

# start runs the daemon in a session of its own, so that it outlives this script, and waits until it answers.
start() {
    [ "$(id -u)" = 0 ] || { echo "make demo: starting the naru daemon needs root" >&2; exit 1; }
    log=$data/server.log
    mkdir -p "$data"
    # shellcheck disable=SC2086 # flags are a list
    setsid "$naru" server --data "$data" --run "$run" --http "$http" ${SERVER_FLAGS:-} >>"$log" 2>&1 </dev/null &
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
page=$(get "http://127.0.0.1:$port/" "$host")
echo
echo "http://$host/ answers:"
printf '%s\n' "$page" | head -n 12
