# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests are written with: guests, clients, servers, disks."""
import pathlib
import sys

# The guest images live one level up, where the bench and the campaigns find them too.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
