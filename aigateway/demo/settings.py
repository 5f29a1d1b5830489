"""What `manage.py demo` itself runs on: its command and nothing else.

The gateway that it starts has settings, keys and a database of its own; those of this project's environment are
neither asked for nor made.
"""

INSTALLED_APPS = ["aigateway"]
USE_TZ = True
