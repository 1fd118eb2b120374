"""What the cores of a point did when: trace files for Perfetto and chrome://tracing, and pictures of them."""
