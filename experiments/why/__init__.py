"""What mechanisms cost: counterfactuals in which some are free, fair shares of what all cost, and a report."""
