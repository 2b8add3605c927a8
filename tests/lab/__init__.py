# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: hosts with an IOMMU, in virtual machines (lab.py), and what a topic finds there (inside.py)."""
