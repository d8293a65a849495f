"""Measures crews of four workers: their memory, their reload, and one of them killed."""
