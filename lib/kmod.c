/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/kmod.h"

#include <errno.h>
#include <libkmod.h>
#include <string.h>

static void tell_aliases(struct kmod_module *mod, kmod_alias_fn *fn, void *arg)
{
	struct kmod_list *info = NULL, *item;

	if (kmod_module_get_info(mod, &info) < 0)
		return; /* its file is gone: it could not be loaded either */
	kmod_list_foreach(item, info)
	{
		if (strcmp(kmod_module_info_get_key(item), "alias") == 0)
			fn(arg, kmod_module_get_name(mod), kmod_module_info_get_value(item));
	}
	kmod_module_info_free_list(info);
}

int kmod_each_alias(const char *dir, const char *alias, kmod_alias_fn *fn, void *arg, struct err *e)
{
	struct kmod_ctx *ctx = kmod_new(dir, NULL);
	struct kmod_list *found = NULL, *item;
	int rc;

	if (!ctx)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to look for modules");
	rc = kmod_module_new_from_lookup(ctx, alias, &found);
	kmod_list_foreach(item, found)
	{
		struct kmod_module *mod = kmod_module_get_module(item);

		tell_aliases(mod, fn, arg);
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(found);
	kmod_unref(ctx);
	return rc < 0 && rc != -ENOENT && rc != -ENOSYS
		       ? err_sys(e, -rc, "look for the modules of %s", alias)
		       : 0;
}

static int load_all(struct kmod_list *found)
{
	struct kmod_list *item;
	int rc = -ENOENT;

	kmod_list_foreach(item, found)
	{
		struct kmod_module *mod = kmod_module_get_module(item);

		rc = kmod_module_probe_insert_module(mod, 0, NULL, NULL, NULL, NULL);
		kmod_module_unref(mod);
		if (rc < 0)
			break;
	}
	return rc;
}

int kmod_load(const char *module, struct err *e)
{
	struct kmod_ctx *ctx = kmod_new(NULL, NULL);
	struct kmod_list *found = NULL;
	int rc;

	if (!ctx)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to load %s", module);
	rc = kmod_module_new_from_lookup(ctx, module, &found);
	if (rc >= 0)
		rc = load_all(found);
	kmod_module_unref_list(found);
	kmod_unref(ctx);
	return rc < 0 ? err_sys(e, -rc, "load the kernel module %s", module) : 0;
}
