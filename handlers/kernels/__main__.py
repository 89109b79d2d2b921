"""`python -m handlers.kernels`: compile every kernel into the cache and say how long it took."""

from time import perf_counter

from handlers.kernels import warm_all

start = perf_counter()
warm_all()
print(f"kernels ready in {perf_counter() - start:.1f} s")
