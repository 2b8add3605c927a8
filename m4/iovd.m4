dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl
dnl IOVD_NEED(PREFIX, MODULE, DEBIAN-PACKAGE)
dnl
dnl Looks for a pkg-config module and sets PREFIX_CFLAGS and PREFIX_LIBS. A missing one does not end
dnl configure: it is remembered, so that IOVD_NEED_END can name all of them in one message.
AC_DEFUN([IOVD_NEED], [
	PKG_CHECK_MODULES([$1], [$2], [],
		[iovd_missing="$iovd_missing
	$2 (Debian package $3)"
		iovd_packages="$iovd_packages $3"])
])

dnl IOVD_NEED_END: ends configure with one error that names every missing library and its package.
AC_DEFUN([IOVD_NEED_END], [
	AS_IF([test -n "$iovd_missing"],
		[AC_MSG_ERROR([missing libraries:$iovd_missing
Install them with:
	apt-get install$iovd_packages])])
])

dnl IOVD_TRY_FLAGS(VARIABLE, FLAG...)
dnl
dnl Adds each flag to VARIABLE if the compiler can compile and link with it without a word.
AC_DEFUN([IOVD_TRY_FLAGS], [
	for iovd_flag in $2; do
		AC_MSG_CHECKING([whether the compiler takes $iovd_flag])
		iovd_saved_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -Werror $iovd_flag"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]], [[]])],
			[AC_MSG_RESULT([yes])
			$1="$$1 $iovd_flag"],
			[AC_MSG_RESULT([no])])
		CFLAGS=$iovd_saved_CFLAGS
	done
])
