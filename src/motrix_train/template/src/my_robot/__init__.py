"""A robot on two wheels balances and drives as it is told."""
