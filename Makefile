# Every promise of docs/reliability.md under load, some ten minutes: a table, and exit status 1 when
# one is broken. `make chaos ONLY="reloads kills"` runs those whose names hold one of the words.
.PHONY: chaos
chaos:
	python -m tests.chaos $(ONLY)

# Autobahn|Testsuite's 517 cases against pounce, strictly: a table, and exit status 1 when one is not
# passed to the letter. `make conformance ONLY=uvicorn CASES="1.* 6.*"` runs a peer, and some of them.
.PHONY: conformance
conformance:
	python -m tests.conformance $(ONLY) $(if $(CASES),--cases "$(CASES)")
