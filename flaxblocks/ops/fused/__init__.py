"""Several operations as one, which a kernel may compute in one go."""
