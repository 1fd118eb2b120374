"""The command ``netstack``, in a checkout ``python run.py``: a run is a point, ``-m`` is a sweep.

The one place where Hydra starts. What is run is in `experiments.launch`; here is what becomes of its errors.
"""

import gc
import os
import sys
from contextlib import nullcontext
from typing import NoReturn

os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised here, not printed by Hydra

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from experiments.config.command_line import PRINTING, arguments_for_hydra, command, exit_code_of
from experiments.config.compositions import use_kept_compositions
from experiments.config.files import use_checked_files
from experiments.config.interrupts import end_at_once
from experiments.config.locations import CONF
from experiments.config.output import drop_broken_streams, printed_whole
from experiments.config.overrides import check_overrides
from experiments.config.reader import Composition
from experiments.config.schema import register_schema
from experiments.launch import launch

_raised: list[Exception] = []


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> None:
    """Run one point. Hydra would print its own lines about an error: it is raised again in `main`."""
    try:
        launch([(Composition(config), ())], multirun=False)
    except Exception as error:
        _raised.append(error)


def main() -> int:
    """Return the exit code: 0, 1 if a point is not done, kept and logged, 2 for input that cannot be used, 130 if interrupted."""
    register_schema()
    use_checked_files()
    use_kept_compositions()
    OmegaConf.register_new_resolver("command", command, replace=True)  # for the help
    return exit_code_of(_run_as_typed, sys.argv[1:])


def _run_as_typed() -> None:
    """Let Hydra read the command line, and run what it says."""
    prints = any(argument.partition("=")[0] in PRINTING for argument in sys.argv[1:])
    with printed_whole() if prints else nullcontext():
        sys.argv[1:] = arguments_for_hydra(sys.argv[1:])
        check_overrides(OverridesParser.create().parse_overrides(get_args_parser().parse_args(sys.argv[1:]).overrides))
        run()
    if _raised:
        raise _raised.pop()


def main_and_exit() -> NoReturn:
    """Run the command and end the process."""
    exit_code = main()
    drop_broken_streams()
    end_at_once(code=exit_code)  # all is done
    gc.freeze()  # else the interpreter searches all that was imported for garbage, for seconds, before it ends
    sys.exit(exit_code)


if __name__ == "__main__":
    main_and_exit()
