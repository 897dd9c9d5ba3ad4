"""Label a folder of photos by an array of jobs on a SLURM cluster, or by as many processes here.

    python examples/slurm_label.py PROMPTS PHOTOS OUT --jobs 64 --cluster slurm

Each job runs `promptseg predict` on its part of the photos, into the one folder OUT. A job that was ended early, or
lost its machine, costs nothing but the photo it was at: run the same command again.
"""

import argparse
import sys
from pathlib import Path

import submitit


def main() -> None:
    """Send the jobs, and wait for them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cluster", choices=("local", "slurm"), default="local")
    parser.add_argument("--minutes", type=int, default=240)
    parser.add_argument("--cores", type=int, default=1)
    given = parser.parse_args()
    prompts, photos, out = (str(path.resolve()) for path in (given.prompts, given.photos, given.out))
    command = [sys.executable, "-m", "promptseg", "predict", photos, "--prompts", prompts, "--out", out]
    command += ["--no-overlays", "--threads", str(given.cores)]
    executor = submitit.AutoExecutor(f"{out}/jobs", cluster=given.cluster)
    executor.update_parameters(timeout_min=given.minutes, cpus_per_task=given.cores, name="promptseg")
    label = submitit.helpers.CommandFunction(command, verbose=False)
    with executor.batch():  # one array of jobs
        jobs = [executor.submit(label, f"--shard={number}/{given.jobs}") for number in range(1, given.jobs + 1)]
    failed = [error for job in jobs if (error := job.exception()) is not None]
    for error in failed:
        print(error, file=sys.stderr)
    for job in jobs:
        if job.exception() is None:
            print(job.result().splitlines()[-1])
    sys.exit(f"{len(failed)} of {len(jobs)} jobs failed: the same command goes on" if failed else 0)


if __name__ == "__main__":
    main()
