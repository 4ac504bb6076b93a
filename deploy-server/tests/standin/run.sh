#!/bin/sh
# The first process of a container ignores SIGTERM unless it says otherwise; this one passes it on
# as a file.
rm -f /term
trap ': > /term' TERM
/standin "$@" &
child=$!
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  code=$?
done
exit "$code"
