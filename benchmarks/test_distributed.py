"""Class statistics by one process and by two, of a thread each: whole commands, the start of processes included."""

import os
import subprocess
import sys

GROUP = "901 images of 224 px, MobileNetV2, whole commands"


def statistics(folder, processes, threads):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "nclib", "statistics", "torchvision:mobilenet_v2", "digits", f"{folder}/stats.safetensors"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*command, "--weights", "random"], check=True, env=environment, capture_output=True)


def timed(benchmark, call):
    benchmark.group = GROUP
    benchmark.pedantic(call, rounds=2)


def test_one_process(benchmark, tmp_path):
    timed(benchmark, lambda: statistics(tmp_path, 1, 1))


def test_one_process_of_two_threads(benchmark, tmp_path):
    timed(benchmark, lambda: statistics(tmp_path, 1, 2))


def test_two_processes(benchmark, tmp_path):
    timed(benchmark, lambda: statistics(tmp_path, 2, 1))
