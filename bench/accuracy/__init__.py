"""How right the analyses are, on music and speech whose truth is known because we made it.

See `python -m bench.accuracy --help`.
"""
