"""What a worker may touch, told to the kernel before the worker reads a byte of anybody's.

    entry      the worker's first lines: walls up, then everything else is imported
    landlock   files and TCP, by place (Landlock)
    calls      system calls that no decoder needs (seccomp)
    limits     memory, file size, open files, no core (rlimits)
    program    what a worker reads to be a worker: interpreter, packages, models
    places     what a job reads and writes
    caches     caches of libraries, which a worker reads and never writes

Only the standard library is imported here, `places` apart: whatever is heavy is imported behind
the walls.
"""
