"""The command line: one point, or a sweep with ``-m``. Where the project is installed, the command is ``netstack``.

python run.py org=connp_l conns=192
python run.py -m org=up,msgp,connp_t,connp_l conns=6,192,16384
"""

from experiments.start import main, main_and_exit

__all__ = ["main"]

if __name__ == "__main__":
    main_and_exit()
