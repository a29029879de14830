"""The benchmark runs and all three contestants answer; how fast is printed, never asserted."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.benchmark
def test_the_consume_benchmark_compares_three_servers(needs: Callable[[str], str]) -> None:
    needs("wrk")
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.consume", "--rounds", "3", "--seconds", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert run.returncode == 0, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "",
        "do-nothing app",
        "naive gateway",
        "tallygate",
    ]
    sys.stdout.write(run.stdout)
