"""Measures pounce beside its peers in one run; it knows their command lines, not their insides."""
