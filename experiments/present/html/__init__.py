"""A sweep's report as one page: claims, figures and the reasons behind them, without anything outside the file."""
