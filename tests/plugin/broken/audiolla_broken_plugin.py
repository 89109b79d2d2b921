"""A plugin that cannot be imported."""

import a_library_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401  # that is what is wrong
