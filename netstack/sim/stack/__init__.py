"""The state of the simulated host beside its machine: connections, sockets, mbufs, items, queues, timers. Knows no costs."""
