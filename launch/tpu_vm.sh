#!/usr/bin/env bash
# Trains one config on a new single-host TPU VM and fetches the run. Needs gcloud, logged in, with a project set.
#
#   launch/tpu_vm.sh NAME ZONE TYPE CONFIG [--dry-run] [more arguments of veegan_jax.main …]
#   launch/tpu_vm.sh veegan us-central1-a v5litepod-8 configs/ring.py
#
# The VM is left running, since it may hold work: delete it with the command that is printed last, also after a failure.
set -euo pipefail

if [ $# -lt 4 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
name=$1 zone=$2 type=$3 config=$4
shift 4
dry=
if [ "${1:-}" = --dry-run ]; then
  dry=1
  shift
fi

step() {
  printf '+ %s\n' "$*"
  [ -n "$dry" ] || "$@"
}

remote() {
  step gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --command "$1"
}

arguments=$(printf ' %q' --config "$config" --workdir "runs/$name" "$@")
step gcloud compute tpus tpu-vm create "$name" --zone "$zone" --accelerator-type "$type" --version tpu-ubuntu2204-base
trap 'printf "delete the VM:\n  gcloud compute tpus tpu-vm delete %q --zone %q\n" "$name" "$zone"' EXIT
step git archive --output "/tmp/$name.tar.gz" HEAD
step gcloud compute tpus tpu-vm scp "/tmp/$name.tar.gz" "$name:source.tar.gz" --zone "$zone"
# The VM's own Python is older than 3.11; uv brings one.
remote "mkdir -p veegan_jax && tar -xzf source.tar.gz -C veegan_jax && python3 -m pip install --user uv"
remote "cd veegan_jax && ~/.local/bin/uv venv --python 3.12 && ~/.local/bin/uv pip install -e '.[tpu]'"
remote "cd veegan_jax && .venv/bin/python -m veegan_jax.main$arguments"
step mkdir -p runs
step gcloud compute tpus tpu-vm scp --recurse "$name:veegan_jax/runs/$name" runs/ --zone "$zone"
