"""All systems by name, in the order of the tables."""

from benchmarks.peers import factorization_machine, libraries, ours

STARS = [*ours.STARS, *factorization_machine.STARS, *libraries.STARS]
LISTS = [*ours.LISTS, *libraries.LISTS]
SYSTEMS = {system.name: system for system in [*STARS, *LISTS]}
