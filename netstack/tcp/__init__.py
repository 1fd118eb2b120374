"""The TCP stack core without I/O: it knows no clock, no cost and no core. Times come in as `now_us`."""
