"""What the launcher of the score template starts (FLEX_TEMPLATE_PYTHON_PY_FILE)."""

from __future__ import annotations

import sys

from flex_template import launch

if __name__ == "__main__":
    launch("score", sys.argv[1:])
