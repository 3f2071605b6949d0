"""What the launcher of the prepare template starts (FLEX_TEMPLATE_PYTHON_PY_FILE)."""

from __future__ import annotations

import sys

from flex_template import launch

if __name__ == "__main__":
    launch("prepare", sys.argv[1:])
