"""One module per subcommand of `audiolla`, imported only when it is called for.

Each has `run(args) -> int` (the exit code) and, where it takes flags of its
own, `configure(parser)`.
"""
