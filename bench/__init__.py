"""Benchmarks: Holdfast and its peers on the same data, in the same run, on the same machine.

In: names of benchmarks and a few sizes (`scripts/bench --help`). Out: a table of rates with ratios, and a JSON file
under `bench/results/`. Promised: peers take turns round by round, so that a slow minute hits all of them; ratios are
medians of the rounds' own ratios; the spread of the baseline and the load of the machine are printed beside them; a peer
that is not installed is named together with the ratio that cannot be given.

Absolute rates belong to one machine and one hour. Ratios are what to read.
"""
