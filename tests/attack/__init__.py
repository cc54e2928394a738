"""Attacks: kills, random inputs, mutated judges. A little of each in `make test`, all in `make test-attack`."""
