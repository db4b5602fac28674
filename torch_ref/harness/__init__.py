"""What comparisons with PyTorch need: vendors' networks, random weights, exact gradients."""
