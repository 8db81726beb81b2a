"""`python -m declip_rt`."""

import sys

from declip_rt.cli import main

sys.exit(main())
