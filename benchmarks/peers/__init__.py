"""Other servers of models, each in an environment of its own, beside Slimvec."""
