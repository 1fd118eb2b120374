"""One Hydra entry: a run is a sweep point, ``-m`` is a sweep.

python run.py org=connp_l conns=192
python run.py -m org=up,msgp,connp_t,connp_l conns=6,192,16384
"""

import gc
import os
import signal
import sys
from pathlib import Path

os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of into Hydra's own report

import hydra
from omegaconf import DictConfig

from experiments.config.command_line import BAD_INPUT, FAILED_POINTS, INTERRUPTED, arguments_for_hydra
from experiments.config.configuration import register_schema
from experiments.config.user_errors import describe
from experiments.launch import launch
from experiments.points.point import UnwritableError
from experiments.sweep import NotLoggedError, PointsFailedError

_raised: list[Exception] = []


@hydra.main(version_base="1.3", config_path=str(Path(__file__).resolve().parent / "conf"), config_name="config")
def run(config: DictConfig) -> None:
    """Run one point. Hydra would print its own lines about an error: it is raised again in `main`."""
    try:
        launch([(config, None)], multirun=False)
    except Exception as error:
        _raised.append(error)


def main() -> int:
    """Return the exit code: 0, 1 if a point is not done, kept and logged, 2 for input that cannot be used, 130 if interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's way to interrupt
    register_schema()
    try:
        sys.argv[1:] = arguments_for_hydra(sys.argv[1:])
        run()
        if _raised:
            raise _raised.pop()
    except KeyboardInterrupt:
        print("interrupted: finished points are kept, the same command runs the rest", file=sys.stderr)
        return INTERRUPTED
    except (PointsFailedError, NotLoggedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED_POINTS
    except UnwritableError as error:
        print(f"error: {error}; finished points are kept, the same command runs the rest", file=sys.stderr)
        return FAILED_POINTS
    except Exception as error:
        message = describe(error, sys.argv[1:])
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    exit_code = main()
    gc.freeze()  # else the interpreter looks for garbage among all that was imported, for seconds, before it ends
    sys.exit(exit_code)
