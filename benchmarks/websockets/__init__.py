"""Measures WebSockets of pounce beside its peers in one run; knows their command lines only."""
