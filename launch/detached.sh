#!/usr/bin/env bash
# Runs a command that outlives the connection it was started from: the first call starts it; every call shows its output
# until it ends, and exits with its code.
#
#   launch/detached.sh STEM COMMAND …    # leaves STEM.log; STEM.lock, STEM.pid and STEM.code as long as it is needed
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
stem=$1
shift
mkdir -p "$(dirname "$stem")"
exec 9>>"$stem.lock"
# Whoever holds the lock, which ends with its process, runs. A code that nobody has read belongs to a run that ended while
# the connection was lost.
if flock -n 9 && [ ! -e "$stem.code" ]; then
  : >"$stem.log" # here, so that it is there to be followed
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -c 'stem=$1; shift; code=0; "$@" || code=$?; echo "$code" >"$stem.code"' detached "$stem" "$@" \
    </dev/null >>"$stem.log" 2>&1 &
  echo $! >"$stem.pid"
fi
exec 9>&-
tail --pid="$(cat "$stem.pid")" --lines=+1 --follow "$stem.log"
# What ended without a word was killed: 76, as when another process of the run was.
code=$(cat "$stem.code" 2>/dev/null || echo 76)
rm -f "$stem.code"
exit "$code"
