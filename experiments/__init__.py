"""What a researcher does with points: sweeps, tracking, tables and figures."""
