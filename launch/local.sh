#!/usr/bin/env bash
# Trains one run with N processes on this machine's CPUs, as N hosts would train it.
#
#   launch/local.sh N CONFIG [--dry-run] [--devices=D] [more arguments of veegan_jax.main …]
#   launch/local.sh 2 configs/ring.py --devices=2
#
# Each process has D simulated devices (1), and its lines begin with its number. Ctrl-C and SIGTERM reach all processes.
# When one process has failed, the others have GRACE seconds (45) to end. The exit code is that of the first failure.
set -euo pipefail

usage() {
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ $# -ge 2 ] || usage
case $1 in '' | 0* | *[!0-9]*) usage ;; esac
case $2 in -*) usage ;; esac
number=$1
command=("${PYTHON:-python}" -m veegan_jax.main --config "$2")
shift 2
dry='' devices=1
for argument in "$@"; do
  case $argument in
    --dry-run) dry=1 ;;
    --devices=*) devices=${argument#*=} ;;
    *) command+=("$argument") ;;
  esac
done

port=$("${PYTHON:-python}" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
environment=(JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$devices" JAX_COORDINATOR_ADDRESS="127.0.0.1:$port"
  JAX_NUM_PROCESSES="$number")
running=() code=0 deadline=''

if [ -n "$dry" ]; then
  for ((i = 0; i < number; i++)); do
    printf '+'
    printf ' %q' env "${environment[@]}" JAX_PROCESS_ID="$i" "${command[@]}"
    printf '\n'
  done
  exit
fi

forward() {
  for pid in ${running[@]+"${running[@]}"}; do
    kill -s "$1" "$pid" 2>/dev/null || true
  done
}

# Notes that process $1 has ended with exit code $2.
ended() {
  [ "$2" = 0 ] || echo "process $1 ended with exit code $2" >&2
  [ "$code" != 0 ] || code=$2
  # A process that was stopped, and has saved (75), may be ahead of others that still write.
  case $2 in 0 | 75) ;; *) deadline=${deadline:-$((SECONDS + ${GRACE:-45}))} ;; esac
}

numbered() {
  trap '' INT TERM
  while IFS= read -r line || [ -n "$line" ]; do
    printf '[%s] %s\n' "$1" "$line"
  done
}

# A signal is counted here, and passed on below, since it may come before the number of the newest process is known.
signals=0 passed=0
trap 'signals=$((signals + 1))' INT TERM HUP
set -m # gives each process a group of its own: a terminal's Ctrl-C reaches this script alone, which passes it on once
for ((i = 0; i < number; i++)); do
  env "${environment[@]}" JAX_PROCESS_ID="$i" "${command[@]}" </dev/null > >(numbered "$i") 2>&1 &
  running[i]=$!
done
while [ ${#running[@]} -gt 0 ]; do
  sleep 0.2 || true
  for ((; passed < signals; passed++)); do
    forward TERM
  done
  for i in "${!running[@]}"; do
    if ! kill -0 "${running[$i]}" 2>/dev/null; then
      status=0
      wait "${running[$i]}" || status=$?
      unset "running[$i]"
      ended "$i" "$status"
    fi
  done
  [ -z "$deadline" ] || [ "$SECONDS" -lt "$deadline" ] || forward KILL
done
exit "$code"
