"""``python -m gatelab``: the command line."""

import sys

from gatelab.cli.main import main

sys.exit(main())
