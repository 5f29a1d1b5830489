#!/usr/bin/env python
"""Django's command line for the gateway."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    # The demo brings a gateway of its own; the settings of this one are neither asked for nor made.
    ours = "aigateway.demo.settings" if sys.argv[1:2] == ["demo"] else "aigateway.settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", ours)
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"Settings: {exc}")
