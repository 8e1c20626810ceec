#!/usr/bin/env bash
# Runs a command that outlives the connection from which it was started. The first call starts the command; every call
# shows the command's output until the command ends, and exits with its exit code.
#
#   launch/detached.sh STEM COMMAND …    # leaves STEM.log, and STEM.lock, STEM.pid and STEM.code while they are needed
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
stem=$1
shift
mkdir -p "$(dirname "$stem")"
exec 9>>"$stem.lock"
# A running command holds the lock, which ends with the command's process. A code that nobody has read belongs to a
# command that ended while the connection was lost.
if flock -n 9 && [ ! -e "$stem.code" ]; then
  : >"$stem.log" # the log has to exist when it is followed below
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -c 'stem=$1; shift; code=0; "$@" || code=$?; echo "$code" >"$stem.code"' detached "$stem" "$@" \
    </dev/null >>"$stem.log" 2>&1 &
  echo $! >"$stem.pid"
fi
exec 9>&-
tail --pid="$(cat "$stem.pid")" --lines=+1 --follow "$stem.log"
# A command that has left no code was killed. Its code is then 76, as when another process of the run was killed.
code=$(cat "$stem.code" 2>/dev/null || echo 76)
rm -f "$stem.code"
exit "$code"
