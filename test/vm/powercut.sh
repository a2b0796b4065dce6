#!/bin/sh
# Process 1 of the guest whose plug is pulled. At each boot it starts the daemon, says what is there, and works until the
# power goes; "@@ack" follows what naru has acknowledged.
. /machine

naru server --http 127.0.0.1:80 --log-level warn &
until naru apps >/dev/null 2>&1; do sleep 0.1; done
boot=$(($(cat /boots 2>/dev/null || echo 0) + 1))
echo $boot >/boots

if [ $boot = 1 ]; then
    naru image import /busybox.tar busybox:cut && echo "@@ack image"
else
    # What was acknowledged may be younger than what the kernel writes back by itself: it has to run, too.
    echo "@@works $(naru container run --rm busybox:cut echo yes)"
    echo "@@containers $(naru container ls --all --json | tr -d '\n')"
    echo "@@releases $(naru releases -a hello --json | tr -d '\n')"
    until answer=$(wget -q -O - --header "Host: hello.localhost" http://127.0.0.1/); do sleep 0.2; done
    echo "@@app $answer"
fi
grep -q only-look /proc/cmdline && echo "@@done" && poweroff -f

n=0
while :; do
    n=$((n + 1))
    name=c$boot-$n
    naru container run -d --name $name busybox:cut sleep 1000000 >/dev/null && echo "@@ack run $name"
    sed "s/WORD-HERE/$name/" /app/template >/app/compose.yaml
    naru up --no-wait /app >/dev/null && echo "@@ack up $name"
    if [ $n -gt 1 ]; then
        old=c$boot-$((n - 1))
        echo "@@try rm $old"
        naru container rm -f $old >/dev/null && echo "@@ack rm $old"
    fi
done
