"""The workload: its configuration, and the remote peers. Knows no organization."""
