/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/uevent.h"

#include <string.h>

static const char *const actions[] = {
	[UEVENT_ADD] = "add",
	[UEVENT_REMOVE] = "remove",
	[UEVENT_CHANGE] = "change",
	[UEVENT_MOVE] = "move",
	[UEVENT_BIND] = "bind",
	[UEVENT_UNBIND] = "unbind",
};

static enum uevent_action action_by_name(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(name, actions[i]) == 0)
			return (enum uevent_action)i;
	return UEVENT_OTHER;
}

/* The value if `text` is "KEY=value" of that key, else what was there before. */
static void take_value(const char *text, const char *key, const char **value)
{
	size_t len = strlen(key);

	if (strncmp(text, key, len) == 0 && text[len] == '=')
		*value = text + len + 1;
}

bool uevent_parse(char *data, size_t len, struct uevent *event)
{
	const char *action = NULL;
	const char *end = data + len;

	data[len] = '\0';
	*event = (struct uevent){0};
	if (!strchr(data, '@')) /* udev's own messages begin otherwise ("libudev") */
		return false;
	for (const char *s = data + strlen(data) + 1; s < end; s += strlen(s) + 1) {
		take_value(s, "ACTION", &action);
		take_value(s, "DEVPATH", &event->devpath);
		take_value(s, "DEVPATH_OLD", &event->old_devpath);
		take_value(s, "SUBSYSTEM", &event->subsystem);
		take_value(s, "ERROR_EVENT", &event->recovery);
	}
	if (!action || !event->devpath || !event->subsystem)
		return false;
	event->action = action_by_name(action);
	return true;
}

const char *uevent_name(const char *devpath)
{
	const char *slash = strrchr(devpath, '/');

	return slash ? slash + 1 : devpath;
}
