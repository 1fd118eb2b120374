"""What several tests use: packet traces, laboratories with the kernel, launched sweeps, servers."""
