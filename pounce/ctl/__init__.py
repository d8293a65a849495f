"""`pounce ctl`: asks a running server, and shows what it says. The server knows none of it."""
