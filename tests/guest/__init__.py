# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs in and beside a test guest: kernel, initramfs, fio, libblkio, from Debian packages."""
