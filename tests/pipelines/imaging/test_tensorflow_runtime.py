"""TensorFlow starts quietly and without Keras. Mostly a module with its name and its chatter stands for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

CHATTER = r"""
import os
import time

os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
os.write(2, b"I0000 00:00:1700000000.000000 1 cpu_feature_guard.cc:210] This TensorFlow binary is optimized\n")
os.write(2, b"To enable the following instructions: AVX2 FMA, rebuild TensorFlow.\n")
os.write(2, b"2026-01-01 10:00:00.000000: E external/local_xla/xla/cuda.cc:1] no GPU here\n")
"""
# It loads until the program says that it may go on.
SLOW = """
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.01)


class config:
    list_physical_devices = print
"""
START = "from pipelines.imaging.tensorflow_runtime import start_tensorflow; start_tensorflow()"
UNFINISHED = """
os.write(2, b"half a line")


class config:
    list_physical_devices = print
"""
FAILING = """
raise ImportError("no such library")
"""
PROGRAM = """
import os, subprocess, sys, threading, time
from pipelines.imaging.tensorflow_runtime import start_tensorflow

def load():
    start_tensorflow()
    start_tensorflow()

def wait_for(is_done):
    while not is_done():
        time.sleep(0.01)

thread = threading.Thread(target=load)
thread.start()
wait_for(lambda: "tensorflow" in sys.modules)
print("a warning of ours", file=sys.stderr)
# A worker that lives longer than the loading, which does not wait for it.
worker = subprocess.Popen([sys.executable, "-c", os.environ["WORKER"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdout.readline()
os.write(2, b"half a line, ")
open(os.environ["GO"], "w").close()
thread.join()
print("whole now", file=sys.stderr)
worker.communicate()
wait_for(lambda: threading.active_count() == 1)
"""
WORKER = """
import sys

print("worker begins", file=sys.stderr, flush=True)
print("ready", flush=True)
sys.stdin.read()
print("I0000 00: ends", file=sys.stderr, flush=True)
"""


def run(folder: Path, tensorflow: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that loads a TensorFlow of ours."""
    (folder / "tensorflow.py").write_text(CHATTER + tensorflow)
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "GO": str(folder / "go"), "WORKER": WORKER}
    return subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment, timeout=120
    )


def test_what_others_say_while_it_loads_is_passed_on(tmp_path: Path) -> None:
    done = run(tmp_path, SLOW, PROGRAM)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "a warning of ours",
        "worker begins",
        "half a line, whole now",
        "I0000 00: ends",
    ]


def test_its_own_lines_are_shown_if_it_does_not_load(tmp_path: Path) -> None:
    done = run(tmp_path, FAILING, START)
    assert done.returncode == 1
    assert "cpu_feature_guard" in done.stderr
    assert "no GPU here" in done.stderr
    assert done.stderr.endswith("ImportError: no such library\n")


def test_it_loads_although_nobody_reads_standard_error(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(CHATTER + UNFINISHED)
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"{START}; print('loaded')"],
            check=False,
            stdout=subprocess.PIPE,
            stderr=write_end,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            timeout=120,
        )
    finally:
        os.close(write_end)
    assert done.stdout.endswith("loaded\n")


def test_keras_stays_away_until_it_is_asked_for() -> None:
    program = (
        f"import sys; {START}; import tensorflow as tf; print('keras' in sys.modules); "
        "import keras; print(tf.keras.layers.Dense is keras.layers.Dense)"
    )
    # tf.Transform, which another test may have loaded, asks for another Keras by a variable.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        env=environment,
    )
    assert done.stdout.splitlines() == ["False", "True"], done.stderr
