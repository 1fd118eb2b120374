"""The path of a segment through the simulated kernel, charged to the core that runs it. Knows no program and no organization."""
