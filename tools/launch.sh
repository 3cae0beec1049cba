#!/usr/bin/env bash
# Start a command of tools/ in several processes. One machine, a process for each GPU:
#
#   tools/launch.sh tools/train.py CONFIG --work-dir work_dirs/run
#
# without a GPU, as many as PROCS says:
#
#   PROCS=2 tools/launch.sh tools/test.py CONFIG CHECKPOINT --out work_dirs/run/valid
#
# Several machines that see the same files: the same line on each. ENDPOINT is one of
# them, with a port that is free there and open to the others.
#
#   NODES=2 ENDPOINT=first:29400 tools/launch.sh tools/train.py CONFIG
#
# Slurm, within sbatch or salloc: one task a machine; all else is read from the job.
#
#   srun --ntasks-per-node 1 --gpus-per-node 4 tools/launch.sh tools/train.py CONFIG
#
# or a task for each GPU, without this script:
#
#   srun --ntasks-per-node 4 --gpus-per-node 4 \
#       python tools/train.py CONFIG --launcher slurm
#
# RESTARTS=3 starts all processes again when one has failed, three times at most; a
# training goes on from its last checkpoint, and ends as if nothing had happened. A
# job that Slurm may requeue adds ${SLURM_RESTART_COUNT:+--resume} to its line.
#
# From three processes on, sums on the CPU are the same bit for bit after a resume only
# with --cfg-options find_unused_parameters=True (PyTorch warns of its cost).
#
# The batch of a config is that of one process, and the learning rate does not change:
# for the same training in 4 processes, divide train_dataloader.batch_size by 4.
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}

if [ "${1:-}" = --help ]; then
    sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"
    exit
fi
[ $# -gt 0 ] || fail 'command: none given; name one, such as tools/train.py CONFIG'
[ -f "$1" ] || fail "$1: no such file; name a command of tools/"
case ${1##*/} in
tune.py | self_train.py)
    fail "$1: starts its trainings itself; python $1 ... --launcher pytorch"
    ;;
esac
command -v torchrun >/dev/null ||
    fail 'torchrun: not found; activate the environment, as by . .venv/bin/activate'
if [ -z "${PROCS:-}" ]; then
    case ${CUDA_VISIBLE_DEVICES-0} in
    '' | -1*) fail 'PROCS: all GPUs are hidden; set the number of processes, such as PROCS=2' ;;
    esac
    compgen -G '/dev/nvidia[0-9]*' >/dev/null ||
        fail 'PROCS: there is no GPU here; set the number of processes, such as PROCS=2'
    # A GPU that torch cannot use would end torchrun with a traceback.
    python -c 'from mmsegmentation import command, device
command.run_command(lambda _: device.choose_device("cuda") or 0)'
fi
nodes=${NODES:-${SLURM_NNODES:-1}}
for name in PROCS NODES RESTARTS; do
    value=${!name:-1}
    [[ $value =~ ^[1-9][0-9]*$ || $name$value = RESTARTS0 ]] ||
        fail "$name: $value is no number of them; write one, such as $name=2"
done
endpoint=${ENDPOINT:-}
if [ -z "$endpoint" ] && [ "$nodes" != 1 ]; then
    [ -n "${SLURM_JOB_NODELIST:-}" ] ||
        fail 'ENDPOINT: not set; name one of the machines, such as ENDPOINT=first:29400'
    # Jobs that share a machine get ports of their own.
    port=$((20000 + SLURM_JOB_ID % 10000))
    names=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    endpoint=${names%%$'\n'*}:$port
fi
if [ "$nodes" = 1 ]; then
    meeting=(--standalone)
else
    meeting=(--nnodes "$nodes" --rdzv-backend c10d --rdzv-endpoint "$endpoint"
        --rdzv-id "${SLURM_JOB_ID:-recycle}")
fi
# What torchrun would set too, with a warning.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec torchrun "${meeting[@]}" --nproc-per-node "${PROCS:-gpu}" \
    --max-restarts "${RESTARTS:-0}" "$@" --launcher pytorch
