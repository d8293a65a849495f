# Every promise of docs/reliability.md under load, some ten minutes: a table, and exit status 1 when
# one is broken. `make chaos ONLY="reloads kills"` runs those whose names hold one of the words.
.PHONY: chaos fuzz
chaos:
	python -m tests.chaos $(ONLY)

# Autobahn|Testsuite's 517 cases against pounce, strictly: a table, and exit status 1 when one is not
# passed to the letter. `make conformance ONLY=uvicorn CASES="1.* 6.*"` runs a peer, and some of them.
.PHONY: conformance
conformance:
	python -m tests.conformance $(ONLY) $(if $(CASES),--cases "$(CASES)")

# Random conversations against the WebSockets, and what must hold in each, for five minutes. What
# breaks a promise is written down to be played again. `make fuzz FUZZ="60 --seed 1"`; with
# `FUZZ=--leaks`, 20,000 are opened and ended, and what is left of them is looked for.
fuzz:
	python -m tests.fuzz $(FUZZ)

# HTTP/2 conformance, strictly: our cases by section of the RFCs, and all of h2spec where that is on
# the PATH. Exit status 1 when one fails.
.PHONY: h2-conformance
h2-conformance:
	python -m tests.h2spec
