#!/usr/bin/env bash
# Trains one config on a Cloud TPU VM of one host or several, and fetches the run. gcloud has to be logged in, with a
# project set.
#
#   launch/tpu_vm.sh NAME ZONE TYPE CONFIG [--dry-run] [--spot] [--delete] [more arguments of veegan_jax.main …]
#   launch/tpu_vm.sh veegan us-central1-a v5litepod-8 configs/ring.py
#
# The script creates the VM, or uses the one of that name; sets it up with the code as committed; trains on all hosts;
# and copies the run to runs/NAME every ten minutes and at the end (the copy before that is runs/NAME.before). A run that
# is stopped is resumed. A VM that is preempted (--spot is cheaper, and may be preempted at any time) is replaced, and the
# run resumes from the last copy. Training survives this script and its connection: the same command follows it again.
# --delete deletes the VM once the finished run is fetched. Otherwise the VM stays and costs money: the last line printed
# is the command that deletes it.
set -euo pipefail

usage() {
  sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
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

# Runs command $2 on worker $1, a number or "all".
remote() {
  tpu ssh --worker "$1" --command "$2"
}

state() {
  [ -z "$dry" ] || { echo GONE && return; }
  gcloud compute tpus tpu-vm describe "$name" --zone "$zone" --format 'value(state)' 2>/dev/null || echo GONE
}

# Creates the VM. A VM that was preempted may not be replaceable for a while, so that creation is tried again.
create() {
  until tpu create --accelerator-type "$type" --version "$version" ${spot[@]+"${spot[@]}"}; do
    [ -n "$again" ] || exit 1
    sleep 300
  done
}

# Makes sure of a VM that has the code, its environment and, after another VM was lost, what was fetched of the run.
prepare() {
  case $(state) in
    PREEMPTED | TERMINATED) tpu delete --quiet && create ;;
    GONE) create ;;
    *) ! remote all "test -e veegan_jax/.ready" || return 0 ;;
  esac
  step git archive --output "$scratch/source.tar.gz" HEAD
  copy "$scratch/source.tar.gz" "$name:" all
  # The VM's own Python is older than 3.11, so that uv installs another.
  remote all "mkdir -p veegan_jax && tar -xzf source.tar.gz -C veegan_jax && python3 -m pip install --user uv"
  remote all "cd veegan_jax && ~/.local/bin/uv venv --python 3.12 && ~/.local/bin/uv pip install -e '.[tpu,report,tfds]'"
  if [ -d "runs/$name" ]; then
    step tar -czf "$scratch/run.tar.gz" "runs/$name"
    copy "$scratch/run.tar.gz" "$name:" 0
    remote 0 "tar -xzf run.tar.gz -C veegan_jax"
  fi
  remote all "touch veegan_jax/.ready"
}

# Fetches the run as it is, completely or not at all. (Exit code 1 of tar says that a file changed meanwhile. Digests
# tell a checkpoint that was copied in part.)
fetch() {
  remote 0 "cd veegan_jax && { tar -czf ../run.tar.gz runs/$name || [ \$? = 1 ]; }" &&
    copy "$name:run.tar.gz" "$scratch/run.tar.gz" 0 &&
    step tar -xzf "$scratch/run.tar.gz" -C "$scratch" &&
    { [ ! -e "runs/$name" ] || step rm -rf "runs/$name.before"; } &&
    { [ ! -e "runs/$name" ] || step mv "runs/$name" "runs/$name.before"; } &&
    step mv "$scratch/runs/$name" "runs/$name"
}

# Trains on all hosts until they end, and fetches every ten minutes; the exit code is that of the first host to fail.
train() {
  set -m # gives the command a group of its own, which `leave` ends as a whole
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

# shellcheck disable=SC2329 # the trap calls it
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
