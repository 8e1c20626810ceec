#!/usr/bin/env bash
# Trains one config on a Cloud TPU VM, of one host or of several, and fetches the run. Needs gcloud, logged in, with a
# project set.
#
#   launch/tpu_vm.sh NAME ZONE TYPE CONFIG [--dry-run] [--spot] [--delete] [more arguments of veegan_jax.main …]
#   launch/tpu_vm.sh veegan us-central1-a v5litepod-8 configs/ring.py
#
# Makes the VM, or takes the one of that name; sets it up with the code as committed; trains on all hosts; copies the run
# to runs/NAME every ten minutes and at the end (the copy before is in runs/NAME.before). A run that is stopped goes on, and
# a VM that is preempted (--spot: cheaper, and it may be at any time) is made anew and goes on from the last copy.
# Training survives this script and its connection: the same command takes it up again. --delete deletes the VM once the
# finished run is fetched; otherwise it is left, and costs money: delete it with the command that is printed last.
set -euo pipefail

usage() {
  sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ $# -ge 4 ] || usage
for argument in "${@:1:4}"; do
  case $argument in -*) usage ;; esac
done
name=$1 zone=$2 type=$3
program=(.venv/bin/python -m veegan_jax.main --distributed --config "$4" --workdir "runs/$1")
shift 4
dry='' spot=() delete=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry=1 ;;
    --spot) spot=(--spot) ;;
    --delete) delete=1 ;;
    *) program+=("$argument") ;;
  esac
done
case $type in
  v5litepod-*) version=v2-alpha-tpuv5-lite ;;
  v5p-*) version=v2-alpha-tpuv5 ;;
  v6e-*) version=v2-alpha-tpuv6e ;;
  *) version=tpu-ubuntu2204-base ;;
esac

step() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ -n "$dry" ] || "$@"
}

tpu() {
  step gcloud compute tpus tpu-vm "$1" "$name" --zone "$zone" "${@:2}"
}

copy() {
  step gcloud compute tpus tpu-vm scp "$1" "$2" --zone "$zone" --worker "$3"
}

# A command on worker $1, a number or all of them.
remote() {
  tpu ssh --worker "$1" --command "$2"
}

state() {
  [ -z "$dry" ] || { echo GONE && return; }
  gcloud compute tpus tpu-vm describe "$name" --zone "$zone" --format 'value(state)' 2>/dev/null || echo GONE
}

# Once there was a VM, there may be none to be had for a while.
create() {
  until tpu create --accelerator-type "$type" --version "$version" ${spot[@]+"${spot[@]}"}; do
    [ -n "$again" ] || exit 1
    sleep 300
  done
}

# A VM with the code and its environment, and with what was fetched of the run, if there was another VM before.
prepare() {
  case $(state) in
    PREEMPTED | TERMINATED) tpu delete --quiet && create ;;
    GONE) create ;;
    *) ! remote all "test -e veegan_jax/.ready" || return 0 ;;
  esac
  step git archive --output "$scratch/source.tar.gz" HEAD
  copy "$scratch/source.tar.gz" "$name:" all
  # The VM's own Python is older than 3.11; uv brings one.
  remote all "mkdir -p veegan_jax && tar -xzf source.tar.gz -C veegan_jax && python3 -m pip install --user uv"
  remote all "cd veegan_jax && ~/.local/bin/uv venv --python 3.12 && ~/.local/bin/uv pip install -e '.[tpu]'"
  if [ -d "runs/$name" ]; then
    step tar -czf "$scratch/run.tar.gz" "runs/$name"
    copy "$scratch/run.tar.gz" "$name:" 0
    remote 0 "tar -xzf run.tar.gz -C veegan_jax"
  fi
  remote all "touch veegan_jax/.ready"
}

# The run as it is, whole or not at all. (tar's 1: a file changed meanwhile. Half a checkpoint is known by its digests.)
fetch() {
  remote 0 "cd veegan_jax && { tar -czf ../run.tar.gz runs/$name || [ \$? = 1 ]; }" &&
    copy "$name:run.tar.gz" "$scratch/run.tar.gz" 0 &&
    step tar -xzf "$scratch/run.tar.gz" -C "$scratch" &&
    { [ ! -e "runs/$name" ] || step rm -rf "runs/$name.before"; } &&
    { [ ! -e "runs/$name" ] || step mv "runs/$name" "runs/$name.before"; } &&
    step mv "$scratch/runs/$name" "runs/$name"
}

# Trains on all hosts until they end, and fetches now and then; the exit code is the first host's that failed.
train() {
  set -m # in a group of its own, which `leave` can end as one
  remote all "cd veegan_jax && launch/detached.sh ~/run $(printf ' %q' "${program[@]}")" &
  following=$! fetched=$SECONDS
  set +m
  while kill -0 "$following" 2>/dev/null; do
    sleep 2
    if [ $((SECONDS - fetched)) -ge 600 ]; then
      fetch || true
      fetched=$SECONDS
    fi
  done
  wait "$following"
}

# shellcheck disable=SC2329 # the trap's
leave() {
  [ -z "$following" ] || kill -- "-$following" 2>/dev/null || true
  [ -n "$dry" ] || rm -rf "$scratch"
  [ -z "$left" ] || printf '%s\n' "the VM is left. To stop the run there, and to delete the VM:" \
    "  gcloud compute tpus tpu-vm ssh $name --zone $zone --worker all --command 'pkill -TERM -f ^.venv/bin/python'" \
    "  gcloud compute tpus tpu-vm delete $name --zone $zone"
}

again='' following='' left=1 scratch=runs/.fetching
if [ -z "$dry" ]; then
  mkdir -p runs
  scratch=$(mktemp -d runs/.fetching.XXXXXX)
fi
trap leave EXIT
for ((attempt = 0; attempt < 100; attempt++)); do
  prepare
  code=0
  train || code=$?
  case $code in
    0) break ;;
    75 | 76 | 255) ;; # stopped and saved; a host died; the connection was lost
    *) [ "$(state)" != READY ] || break ;;
  esac
  again=1
  fetch || true
done
fetch || code=${code/#0/1}
if [ -n "$delete" ] && [ "$code" = 0 ]; then
  tpu delete --quiet
  left=
fi
exit "$code"
