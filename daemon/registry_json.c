/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attachments and VMs as clients see them, and the description that is kept with each worker. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/registry_internal.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"

/* --- sockets ---------------------------------------------------------------------------------- */

void attachment_folder(
	const struct registry *r, const struct attachment_spec *spec, char *path, size_t size)
{
	snprintf(path, size, "%s/vm/%s", r->runtime_dir, spec->vm);
}

bool attachment_socket_path(
	const struct registry *r, const struct attachment_spec *spec, char *path, size_t size)
{
	int len = snprintf(path, size, "%s/vm/%s/%s.sock", r->runtime_dir, spec->vm, spec->name);

	return len > 0 && (size_t)len < MIN(size, sizeof(((struct sockaddr_un *)0)->sun_path));
}

/* --- attachments ------------------------------------------------------------------------------ */

/* A comma ends a value in QEMU's words; two are one. */
static void qemu_quote(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 2 < size; text++) {
		out[n++] = *text;
		if (*text == ',')
			out[n++] = ',';
	}
	out[n] = '\0';
}

/*
 * The words for QEMU. A reconnect interval is always among them (a drain that cannot end drops the
 * connection), and guest memory that can be shared is the VMM's own affair.
 */
static void put_vmm_args(const struct attachment_spec *spec, const char *socket, struct json_out *o)
{
	char path[2 * sizeof(((struct sockaddr_un *)0)->sun_path)];

	qemu_quote(path, sizeof(path), socket);
	json_out_array(o, "vmm_args");
	json_out_str(o, NULL, "-chardev");
	json_out_fmt(o, NULL, "socket,id=iovd-%s,path=%s,reconnect-ms=1000", spec->id, path);
	json_out_str(o, NULL, "-device");
	json_out_fmt(o, NULL, "vhost-user-blk-pci,chardev=iovd-%s,num-queues=%u", spec->id,
		spec->queues);
	json_out_end(o);
}

static void put_session(const struct attachment *a, struct json_out *o)
{
	struct session_status status;

	if (a->page_fd < 0 || session_page_status(a->page_fd, &status, NULL) < 0)
		memset(&status, 0, sizeof(status));
	json_out_u64(o, "in_flight", status.in_flight);
	json_out_u64(o, "restarts", a->worker.generation > 1 ? a->worker.generation - 1 : 0);
	json_out_u64(o, "requests_completed", MIN(status.requests_completed, INT64_MAX));
}

void attachment_put(
	const struct registry *r, const struct attachment *a, struct json_out *o, const char *key)
{
	char socket[PATH_MAX];

	attachment_socket_path(r, &a->spec, socket, sizeof(socket));
	json_out_object(o, key);
	json_out_str(o, "id", a->spec.id);
	json_out_str(o, "device", a->spec.device);
	json_out_str(o, "vm", a->spec.vm);
	json_out_str(o, "path", "paravirt");
	json_out_str(o, "state", attachment_state_names[a->state]);
	json_out_str(o, "name", a->spec.name);
	json_out_str(o, "socket", socket);
	if (a->worker.pid > 0)
		json_out_i64(o, "worker_pid", a->worker.pid);
	else
		json_out_null(o, "worker_pid");
	put_session(a, o);
	if (a->state == ATTACHMENT_FAILED)
		json_out_fmt(o, "pending_action", "look into it: %s", a->reason);
	else
		json_out_null(o, "pending_action");
	put_vmm_args(&a->spec, socket, o);
	json_out_end(o);
}

void registry_put_list(struct registry *r, const char *vm, struct json_out *o, const char *key)
{
	json_out_array(o, key);
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);

		registry_look(r, a);
		if (!vm || strcmp(a->spec.vm, vm) == 0)
			attachment_put(r, a, o, NULL);
	}
	json_out_end(o);
}

/* --- VMs: so far those that somebody attached something to ------------------------------------ */

void registry_put_vm(struct registry *r, const char *vm, struct json_out *o, const char *key)
{
	bool runs = false;

	json_out_object(o, key);
	json_out_str(o, "name", vm);
	json_out_null(o, "uuid");
	json_out_str(o, "managed", "none");
	json_out_array(o, "attachments");
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) != 0)
			continue;
		registry_look(r, a);
		runs = runs || a->state == ATTACHMENT_ACTIVE;
		json_out_str(o, NULL, a->spec.id);
	}
	json_out_end(o);
	/* Of a VM that nobody manages we know only whether it has connected. */
	json_out_str(o, "state", runs ? "running" : "unknown");
	json_out_end(o);
}

static bool is_first_of_vm(struct registry *r, const struct attachment *a)
{
	list_for_each (node, &r->attachments) {
		const struct attachment *other = list_entry(node, struct attachment, node);

		if (strcmp(other->spec.vm, a->spec.vm) == 0)
			return other == a;
	}
	return false;
}

void registry_put_vms(struct registry *r, struct json_out *o, const char *key)
{
	json_out_array(o, key);
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (is_first_of_vm(r, a))
			registry_put_vm(r, a->spec.vm, o, NULL);
	}
	json_out_end(o);
}

/* --- the description -------------------------------------------------------------------------- */

#define SPEC_MAX 16384

static char *spec_text(const struct attachment_spec *spec, size_t *len)
{
	auto_json_out struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.spec/1");
	json_out_str(&o, "id", spec->id);
	json_out_str(&o, "vm", spec->vm);
	json_out_str(&o, "name", spec->name);
	json_out_str(&o, "device", spec->device);
	json_out_str(&o, "node", spec->node);
	json_out_str(&o, "owner", spec->owner);
	json_out_str(&o, "cache", attachment_cache_names[spec->cache]);
	json_out_u64(&o, "queues", spec->queues);
	json_out_bool(&o, "readonly", spec->readonly);
	json_out_end(&o);
	return json_out_finish(&o, len);
}

int attachment_spec_memfd(const struct attachment_spec *spec, struct err *e)
{
	auto_close int fd = memfd_create("iovd-spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	auto_free char *text = NULL;
	size_t len = 0;
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "memfd_create");
	text = spec_text(spec, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a description");
	rc = fdio_write_all(fd, text, len);
	if (rc < 0)
		return err_sys(e, -rc, "write a description");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "seal a description");
	return steal_fd(&fd);
}

struct spec_fields {
	const char *schema, *id, *vm, *name, *device, *node, *owner, *cache;
	uint64_t queues;
	bool readonly;
};

#define SPEC_FIELD(key, type_)                                                                     \
	{                                                                                          \
#key, JSON_FIELD_##type_, .required = true,                                        \
					  .offset = offsetof(struct spec_fields, key)              \
	}

static const struct json_field spec_fields[] = {
	SPEC_FIELD(schema, STRING),
	SPEC_FIELD(id, STRING),
	SPEC_FIELD(vm, STRING),
	SPEC_FIELD(name, STRING),
	SPEC_FIELD(device, STRING),
	SPEC_FIELD(node, STRING),
	SPEC_FIELD(owner, STRING),
	SPEC_FIELD(cache, STRING),
	SPEC_FIELD(queues, U64),
	SPEC_FIELD(readonly, BOOL),
};

static const struct json_params spec_params = {
	spec_fields, ARRAY_SIZE(spec_fields), sizeof(struct spec_fields)};

static int spec_take(const struct spec_fields *f, struct attachment_spec *spec)
{
	*spec = (struct attachment_spec){
		.queues = (unsigned int)f->queues,
		.readonly = f->readonly,
	};
	while (spec->cache < ATTACHMENT_CACHES &&
		strcmp(f->cache, attachment_cache_names[spec->cache]) != 0)
		spec->cache++;
	if (spec->cache == ATTACHMENT_CACHES || f->queues == 0 || f->queues > VU_MAX_QUEUES ||
		!str_copy(spec->id, sizeof(spec->id), f->id) || !keeper_id_is_valid(spec->id) ||
		!str_copy(spec->vm, sizeof(spec->vm), f->vm) || !name_is_valid(spec->vm) ||
		!str_copy(spec->name, sizeof(spec->name), f->name) || !name_is_valid(spec->name) ||
		!str_copy(spec->device, sizeof(spec->device), f->device) ||
		!str_copy(spec->node, sizeof(spec->node), f->node) || spec->node[0] != '/' ||
		!str_copy(spec->owner, sizeof(spec->owner), f->owner) ||
		strcmp(f->schema, "iovd.spec/1") != 0)
		return -1;
	return 0;
}

int attachment_spec_read(int fd, struct attachment_spec *spec, struct err *e)
{
	auto_free char *text = malloc(SPEC_MAX);
	auto_json struct json *json = NULL;
	struct spec_fields fields;
	ssize_t len = text ? pread(fd, text, SPEC_MAX, 0) : -1;

	if (len <= 0 || len == SPEC_MAX)
		return err_set(e, ERR_FAILED, "SPEC", "the description cannot be read");
	json = json_parse(text, (size_t)len, e);
	if (!json || json_read_params(json, &spec_params, &fields, e) < 0)
		return err_wrap(e, "the description");
	if (spec_take(&fields, spec) < 0)
		return err_set(e, ERR_FAILED, "SPEC", "the description makes no sense");
	return 0;
}
