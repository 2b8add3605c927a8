# SPDX-License-Identifier: GPL-2.0-or-later
# Lines of text to lines of one C string.
s/[\\"]/\\&/g
s/^/"/
s/$/\\n"/
