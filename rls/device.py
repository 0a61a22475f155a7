"""Print the versions and the hardware that a bug report needs."""

from __future__ import annotations

from rls.runtime.device import main

if __name__ == "__main__":
    main()
