/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passing through, its pure parts: how a function will be reset, and the words for the VMM. */
#include <string.h>

#include "daemon/passthrough_plan.h"
#include "daemon/words.h"
#include "tests/unit/unit.h"

/* --- reset ------------------------------------------------------------------------------------ */

static const char *const pair[] = {"0000:0a:01.0", "0000:0a:02.0"};

START_TEST(reset_is_its_own_or_of_its_whole_bus)
{
	char way[16];

	/* its own, the first one, whatever else is on the bus or given */
	ck_assert_str_eq(passthrough_reset_way("flr bus", pair, 2, pair, 1, way), "flr");
	ck_assert_str_eq(passthrough_reset_way("pm", NULL, 0, pair, 1, way), "pm");
	/* by the bus, if all on it are given: exactly all, and one fewer */
	ck_assert_str_eq(passthrough_reset_way("", pair, 2, pair, 2, way), "bus");
	ck_assert_str_eq(passthrough_reset_way("", pair, 2, pair, 1, way), "");
	ck_assert_str_eq(passthrough_reset_way("", pair, 1, pair, 2, way), "bus");
	/* nothing resets a root bus; a bus of which nothing is known is not reset */
	ck_assert_str_eq(passthrough_reset_way("", NULL, 0, pair, 2, way), "");
	ck_assert_str_eq(passthrough_reset_way("", pair, 0, pair, 2, way), "");
	/* a method that the kernel may learn does not overflow */
	ck_assert_str_eq(
		passthrough_reset_way("device_specific_and_more bus", NULL, 0, pair, 1, way),
		"device_specific");
}
END_TEST

/* --- words ------------------------------------------------------------------------------------ */

static char said[1024];

static void say(void *arg, const char *word)
{
	(void)arg;
	if (said[0])
		strncat(said, " ", sizeof(said) - strlen(said) - 1);
	strncat(said, word, sizeof(said) - strlen(said) - 1);
}

static const char *words(const struct attachment *a, const struct words_fds *fds)
{
	struct err e;
	struct registry *r = registry_new(NULL, NULL, "/run/a,b", &e);

	ck_assert_ptr_nonnull(r);
	said[0] = '\0';
	attachment_words(r, a, fds, say, NULL);
	registry_free(r);
	return said;
}

static struct attachment passed_through(const char *owner)
{
	struct attachment a = {.spec = {.path = ATTACHMENT_PASSTHROUGH}};

	strcpy(a.spec.id, "a7");
	strcpy(a.spec.device, pair[0]);
	strcpy(a.spec.owner, owner);
	return a;
}

START_TEST(words_of_a_function)
{
	struct attachment a = passed_through("qemu");

	ck_assert_str_eq(words(&a, NULL), "-device vfio-pci,host=0000:0a:01.0");
	/* its companions, too */
	strcpy(a.spec.passthrough.companions[0], pair[1]);
	a.spec.passthrough.companion_count = 1;
	ck_assert_str_eq(words(&a, NULL),
		"-device vfio-pci,host=0000:0a:01.0 -device vfio-pci,host=0000:0a:02.0");
}
END_TEST

/* One iommufd for all of them, where the kernel has nodes for functions and its opener is root. */
START_TEST(words_of_a_function_with_a_node_of_its_own)
{
	struct attachment a = passed_through("qemu");

	a.has_cdev = true;
	ck_assert_str_eq(words(&a, NULL), "-device vfio-pci,host=0000:0a:01.0");
	strcpy(a.spec.owner, "root");
	strcpy(a.spec.passthrough.companions[0], pair[1]);
	a.spec.passthrough.companion_count = 1;
	ck_assert_str_eq(words(&a, NULL), "-object iommufd,id=iovd-a7"
					  " -device vfio-pci,host=0000:0a:01.0,iommufd=iovd-a7"
					  " -device vfio-pci,host=0000:0a:02.0,iommufd=iovd-a7");
}
END_TEST

/* Descriptors that are handed over are all that is named, whoever the owner is. */
START_TEST(words_of_descriptors)
{
	const struct words_fds fds = {.iommufd = 10, .functions = {11, 12}};
	struct attachment a = passed_through("qemu");

	ck_assert_str_eq(words(&a, &fds),
		"-object iommufd,id=iovd-a7,fd=10 -device vfio-pci,fd=11,iommufd=iovd-a7");
}
END_TEST

START_TEST(words_of_a_socket)
{
	struct attachment a = {.spec = {.path = ATTACHMENT_PARAVIRT, .queues = 2}};

	strcpy(a.spec.id, "a1");
	strcpy(a.spec.vm, "vm");
	strcpy(a.spec.name, "disk");
	/* a comma in a path is two in QEMU's words */
	ck_assert_str_eq(words(&a, NULL),
		"-chardev socket,id=iovd-a1,path=/run/a,,b/vm/vm/disk.sock,reconnect-ms=1000"
		" -device vhost-user-blk-pci,chardev=iovd-a1,num-queues=2,queue-size=1024");
}
END_TEST

UNIT_MAIN(reset_is_its_own_or_of_its_whole_bus, words_of_a_function,
	words_of_a_function_with_a_node_of_its_own, words_of_descriptors, words_of_a_socket)
