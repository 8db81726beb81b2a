"""What a batch on a GPU costs the host, on the simulated driver: `python -m tests.simulated.host_cost`.

The time is that of Python and of the real cuda.core; the simulated driver takes next to nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.simulated import conftest as simulated

REPEATS, PAUSE = 300, 0.002  # seconds in which a batch ends


def main() -> int:
    driver = simulated._built()  # before anything imports cuda.core
    sys.path.insert(0, str(simulated.HERE))
    from declip_rt.backends.choose import open_engine
    from declip_rt.backends.contract import EngineOptions
    from tests.backends.small import small_bundle

    simulated.Simulation(driver).reset()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DECLIP_RT_CACHE"] = folder
        bundle = small_bundle(Path(folder))
        for batch in (1, 8, 32):
            with closing(open_engine(bundle, EngineOptions(device="tensorrt", batch=batch, lanes=1))) as engine:
                lane, launches, results = engine.lanes[0], [], []
                for _ in range(REPEATS):
                    launches.append(_seconds(lambda: lane.launch(batch)))  # noqa: B023
                    time.sleep(PAUSE)
                    results.append(_seconds(lane.result))
            print(f"batch {batch}: launch {min(launches) * 1e6:.0f} us, result {min(results) * 1e6:.0f} us")
    return 0


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
