"""`python -m declip_rt`."""

import sys

from declip_rt.commands.main import main

sys.exit(main())
