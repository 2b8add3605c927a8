/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/restore_names.h"

#include <string.h>

#include "daemon/recover.h"

const char *restore_mapped_name(const struct json *map, const struct iostate_identity *id)
{
	const char *name = json_member_str(map, id->device);

	if (!name)
		name = json_member_str(map, id->node);
	if (!name)
		name = json_member_str(map, id->name);
	return name ? name : id->device;
}

static bool is_its_name(const struct iostate_attachment *a, const char *name)
{
	return strcmp(name, a->identity.device) == 0 || strcmp(name, a->identity.node) == 0 ||
	       strcmp(name, a->identity.name) == 0;
}

static bool is_its_spare(const struct iostate_attachment *a, const char *name)
{
	for (unsigned int i = 0; i < IOSTATE_MAX_SPARES && a->policy.spares[i][0]; i++)
		if (strcmp(name, a->policy.spares[i]) == 0)
			return true;
	return false;
}

struct map_check {
	const struct iostate *s;
	struct err *e;
	int rc;
};

/* What is mapped must be there: a name that was mistyped would leave a device where it was. */
static void check_mapping(void *arg, const char *key, const struct json *value)
{
	struct map_check *c = arg;
	const char *name = json_str(value);
	bool is_spare = false;

	for (uint32_t i = 0; c->rc == 0 && i < c->s->attachment_count; i++) {
		if (name && *name && is_its_name(&c->s->attachments[i], key))
			return;
		is_spare |= is_its_spare(&c->s->attachments[i], key);
	}
	if (c->rc < 0 || (is_spare && name))
		return;
	if (!name || !*name) {
		c->rc = err_set(
			c->e, ERR_USAGE, JSON_CODE_PARAM, "%.100s is mapped to no name", key);
		return;
	}
	c->rc = err_set(c->e, ERR_USAGE, "MAP", "nothing in the state is called %.200s", key);
	err_fix(c->e, "iovctl show FILE has the names");
}

int restore_check_map(const struct json *map, const struct iostate *s, struct err *e)
{
	struct map_check c = {s, e, 0};

	if (map)
		json_each_member(map, check_mapping, &c);
	return c.rc;
}

void restore_map_spares(const struct json *map, struct attachment_rescue *rescue)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < rescue->spare_count; i++) {
		const char *mapped = json_member_str(map, rescue->spares[i]);
		const char *name = mapped ? mapped : rescue->spares[i];

		if (*name)
			memmove(rescue->spares[kept++], name, strlen(name) + 1);
	}
	rescue->spare_count = kept;
}

int restore_read_allow(const char *codes, unsigned int *of_spares, bool *fence, struct err *e)
{
	while (codes && *codes) {
		size_t len = strcspn(codes, ",");
		unsigned int one = recover_find_allow(codes, len);
		bool is_fence = len == strlen(RESTORE_ALLOW_FENCE) &&
				strncmp(codes, RESTORE_ALLOW_FENCE, len) == 0;

		if (!one && !is_fence) {
			err_set(e, ERR_USAGE, "ALLOW", "%.*s is nothing that can be allowed",
				(int)MIN(len, 32), codes);
			return err_fix(e,
				RESTORE_ALLOW_FENCE ", and of spares STALE-SPARE and LATE-WRITE");
		}
		*of_spares |= one;
		*fence |= is_fence;
		codes += len + (codes[len] == ',');
	}
	return 0;
}
