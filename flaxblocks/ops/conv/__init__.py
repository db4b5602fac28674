"""The convolution: one primitive with three roles, its forms, and the choice among them."""
