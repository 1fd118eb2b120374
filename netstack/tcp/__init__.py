"""The core of TCP without I/O. It knows no clock, no cost and no processor core. Times come in as `now_us`."""
