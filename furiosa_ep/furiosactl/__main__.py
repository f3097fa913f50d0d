"""``python -m furiosa_ep.furiosactl``, the same as ``furiosactl``."""

import sys

from furiosa_ep.furiosactl.main import main

sys.exit(main())
