"""``python -m lightfm_fast`` is the command ``lightfm-fast``."""

import sys

from lightfm_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
