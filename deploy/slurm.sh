#!/bin/bash
# sbatch deploy/slurm.sh DATASET OUTPUT [OPTIONS OF trainer.task]
#
# One worker per node, all its GPUs each. Preempted, out of time or with a node lost, the job queues itself again and
# continues from its last checkpoint. DATASET and OUTPUT on a file system that all nodes see; OUTPUT only for the chief.
#SBATCH --job-name=lesions
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# SIGTERM to the workers two minutes before the end: they save and exit with 75.
#SBATCH --signal=TERM@120
set -u
dataset=$1
output=$2
shift 2

# --wait=0: the workers end each other, and the chief may still be saving.
srun --wait=0 bash -c '
  TF_CONFIG="$(python -m trainer.distribution.tf_config slurm)" || exit
  export TF_CONFIG
  exec python -m trainer.task --strategy=multi_worker "$@"
' trainer --dataset="$dataset" --output="$output" "$@"
code=$?

# 75: the same command continues the run. A killed task counts as lost too (128 + signal), but not for ever.
if [ "$code" -eq 75 ] || { [ "$code" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 8 ]; }; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
