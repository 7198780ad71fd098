"""How a policy is trained and evaluated."""
