"""Proof by violence: kill the process, cut the power, and compare what is left with what was promised.

Comes in: a number of trials and a seed (`scripts/torture kill|power|variants|all`). Goes out: a table of what was tried
and what was violated, and an exit status. Promises: the load is recorded before and after each operation by the side
that issues it, the judge reads only what a client and an operator could read, every failing trial names the seed that
replays it, and the failing variants show that violations are found when they are there.

`workload` makes the load, `journal` carries what it says to the parent, `model` knows which states are allowed,
`verify` looks at what is left, `trial` ties them together; `kill`, `server` and `power` are the ways to die.
"""
