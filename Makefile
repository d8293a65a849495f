# Every promise of docs/reliability.md under load, some ten minutes: a table, and exit status 1 when
# one is broken. `make chaos ONLY="reloads kills"` runs those whose names hold one of the words.
.PHONY: chaos
chaos:
	python -m tests.chaos $(ONLY)
