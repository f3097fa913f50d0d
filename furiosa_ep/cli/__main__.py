"""``python -m furiosa_ep.cli``, the same as ``furiosa``."""

import sys

from furiosa_ep.cli.main import main

sys.exit(main())
