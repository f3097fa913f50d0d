"""``python -m furiosa_ep.cli``, the same as ``furiosa``."""

import sys

from furiosa_ep.cli import main

sys.exit(main())
