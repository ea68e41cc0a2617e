"""Found by every Python that a watched test starts."""

import os

if os.environ.get("MUTATION_OUT") and os.environ.get("PYTEST_CURRENT_TEST"):
    import watch

    watch.watch_child()
