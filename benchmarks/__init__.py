"""Speed and scale of the simulator itself, beside a peer."""
