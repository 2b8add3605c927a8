/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attachments and VMs as clients see them, and the description that is kept with each worker. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/registry_internal.h"
#include "daemon/standby.h"
#include "daemon/tap_node.h"
#include "daemon/words.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/nbd_uri.h"

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

static void put_word(void *arg, const char *word)
{
	json_out_str(arg, NULL, word);
}

static void put_session(const struct attachment *a, struct json_out *o)
{
	struct session_status status;

	if (a->page_fd < 0 || session_page_status(a->page_fd, &status, NULL) < 0)
		memset(&status, 0, sizeof(status));
	json_out_u64(o, "in_flight", status.in_flight);
	json_out_u64(o, "restarts", a->worker.generation > 1 ? a->worker.generation - 1 : 0);
	json_out_u64(o, "requests_completed", MIN(status.requests_completed, INT64_MAX));
	json_out_u64(o, "requests_failed", MIN(status.errors, INT64_MAX));
	json_out_u64(o, "requests_timed", MIN(status.timed_requests, INT64_MAX));
	json_out_u64(o, "timed_ms", MIN(status.timed_ms, INT64_MAX));
}

static void put_devices(const struct attachment_spec *spec, struct json_out *o)
{
	json_out_array(o, "devices");
	json_out_str(o, NULL, spec->device);
	for (unsigned int i = 0; i < spec->passthrough.companion_count; i++)
		json_out_str(o, NULL, spec->passthrough.companions[i]);
	json_out_end(o);
}

static void put_rescue(const struct attachment_rescue *rescue, struct json_out *o)
{
	json_out_array(o, "spares");
	for (unsigned int i = 0; i < rescue->spare_count; i++)
		json_out_str(o, NULL, rescue->spares[i]);
	json_out_end(o);
	json_out_str(o, "fence", rescue->fence[0] ? rescue->fence : NULL);
	json_out_u64(o, "io_timeout_ms", rescue->io_timeout_ms);
}

static void put_vf(const struct attachment *a, struct json_out *o)
{
	static const char *const links[ATTACHMENT_LINKS] = {
		[ATTACHMENT_LINK_UP] = "up", [ATTACHMENT_LINK_DOWN] = "down"};
	const struct attachment_vf *vf = &a->spec.vf;
	char text[VF_SETTINGS_TEXT];

	if (!vf->pool[0] && !vf->settings.has && !vf->before.has) {
		json_out_null(o, "vf");
		return;
	}
	vf_settings_write(&vf->settings, text);
	json_out_object(o, "vf");
	json_out_str(o, "pool", vf->pool[0] ? vf->pool : NULL);
	json_out_str(o, "set", text[0] ? text : NULL);
	json_out_str(o, "link", links[a->link]);
	standby_put(a, o);
	json_out_end(o);
}

static void put_lease(const struct attachment *a, struct json_out *o)
{
	bool waits = a->baton == BATON_COMING && a->lease.fd >= 0;

	json_out_str(o, "lease", a->lease.is_ours ? "held" : waits ? "claimed" : NULL);
}

/* What a person has to do; null: nothing. */
static void put_pending_action(const struct attachment *a, struct json_out *o)
{
	static const char key[] = "pending_action";
	const char *no_spare = a->turn.failure;

	if (a->state == ATTACHMENT_FAILED)
		json_out_fmt(o, key, "look into it: %s", a->reason);
	else if (a->state == ATTACHMENT_HELD)
		json_out_fmt(o, key, "recover it: %s%s%s", a->reason,
			no_spare[0] ? "; no spare takes over: " : "", no_spare);
	else if (a->state == ATTACHMENT_RECOVERING && a->reason[0])
		json_out_fmt(o, key, "wait: %s", a->reason);
	else if (a->state == ATTACHMENT_INCOMING)
		json_out_str(
			o, key, "start the VM from the memory that was saved with its I/O state");
	else if (a->reason[0])
		json_out_fmt(o, key, "look at its disk: %s", a->reason);
	else if (a->spec.vf.pair == PAIR_APART && standby_waits_for(a)[0])
		json_out_fmt(o, key, "on standby (%s), and no function comes: %s", a->spec.vf.left,
			standby_waits_for(a));
	else if (a->storm.action[0])
		json_out_str(o, key, a->storm.action);
	else
		json_out_null(o, key);
}

static void put_requests(const struct attachment *a, struct json_out *o)
{
	struct session_request list[SESSION_REQUESTS_MAX];
	int count = a->page_fd < 0 ? 0 : session_page_requests(a->page_fd, list, NULL);

	json_out_array(o, "requests");
	for (int i = 0; i < count; i++) {
		const struct session_request *r = &list[i];

		json_out_object(o, NULL);
		json_out_fmt(o, "id", "%u:%u", r->ring, r->id);
		json_out_str(o, "kind", session_request_names[r->what]);
		json_out_u64(o, "sector", r->sector);
		json_out_u64(o, "sectors", r->sectors);
		json_out_u64(o, "age_ms", MIN(r->age_ms, (uint64_t)INT64_MAX));
		json_out_bool(o, "held", r->parked);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_replayed(const struct attachment *a, struct json_out *o)
{
	struct session_status status;

	if (a->page_fd >= 0 && session_page_status(a->page_fd, &status, NULL) == 0)
		json_out_u64(o, "replayed", MIN(status.replayed, INT64_MAX));
}

static void put_members(const struct registry *r, const struct attachment *a, struct json_out *o)
{
	char socket[PATH_MAX];

	attachment_socket_path(r, &a->spec, socket, sizeof(socket));
	json_out_str(o, "id", a->spec.id);
	json_out_str(o, "device", a->spec.device);
	put_devices(&a->spec, o);
	json_out_str(o, "vm", a->spec.vm);
	json_out_str(o, "domain", a->spec.domain[0] ? a->spec.domain : NULL);
	json_out_str(o, "path", attachment_path_names[a->spec.path]);
	json_out_str(o, "state", attachment_state_names[a->state]);
	json_out_str(o, "name", a->spec.name);
	json_out_str(o, "socket", a->spec.path == ATTACHMENT_PARAVIRT ? socket : NULL);
	if (a->worker.pid > 0)
		json_out_i64(o, "worker_pid", a->worker.pid);
	else
		json_out_null(o, "worker_pid");
	if (a->vmm_pid > 0)
		json_out_i64(o, "vmm_pid", a->vmm_pid);
	else
		json_out_null(o, "vmm_pid");
	put_session(a, o);
	put_pending_action(a, o);
	json_out_str(o, "on_error", attachment_on_error_names[a->spec.on_error]);
	json_out_str(o, "on_fault", attachment_on_fault_names[a->spec.passthrough.on_fault]);
	json_out_str(
		o, "serial", a->spec.passthrough.serial[0] ? a->spec.passthrough.serial : NULL);
	put_rescue(&a->spec.rescue, o);
	json_out_str(o, "redundancy", standby_word(a));
	put_vf(a, o);
	put_lease(a, o);
	json_out_array(o, "vmm_args");
	attachment_words(r, a, NULL, put_word, o);
	json_out_end(o);
}

void attachment_put(
	const struct registry *r, const struct attachment *a, struct json_out *o, const char *key)
{
	json_out_object(o, key);
	put_members(r, a, o);
	json_out_end(o);
}

void attachment_put_all(
	const struct registry *r, const struct attachment *a, struct json_out *o, const char *key)
{
	json_out_object(o, key);
	put_members(r, a, o);
	put_requests(a, o);
	put_replayed(a, o);
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

/* --- VMs -------------------------------------------------------------------------------------- */

static bool is_of_vm(const struct attachment *a, const struct vm_facts *vm)
{
	return vm->uuid ? strcmp(a->spec.domain, vm->uuid) == 0
			: !a->spec.domain[0] && strcmp(a->spec.vm, vm->name) == 0;
}

void registry_put_vm(
	struct registry *r, const struct vm_facts *vm, struct json_out *o, const char *key)
{
	bool runs = false;

	json_out_object(o, key);
	json_out_str(o, "name", vm->name);
	json_out_str(o, "uuid", vm->uuid);
	json_out_str(o, "managed", vm->uuid ? "libvirt" : "none");
	json_out_array(o, "attachments");
	list_for_each (node, &r->attachments) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (!is_of_vm(a, vm))
			continue;
		registry_look(r, a);
		runs = runs || a->connected;
		json_out_str(o, NULL, a->spec.id);
	}
	json_out_end(o);
	/* Of a VM that nobody manages we know only whether it has connected. */
	json_out_str(o, "state", runs && !vm->uuid ? "running" : vm->state);
	json_out_end(o);
}

/* --- the description -------------------------------------------------------------------------- */

#define DESCRIPTION_MAX    65536
#define DESCRIPTION_SCHEMA "iovd.description/1"

static void description_path(
	const struct registry *r, const char *id, const char *suffix, char *path, size_t size)
{
	snprintf(path, size, "%s/keeper/%s.json%s", r->runtime_dir, id, suffix);
}

static char *description_text(const struct attachment *a, size_t *len)
{
	const struct attachment_spec *spec = &a->spec;
	auto_json_out struct json_out o;
	char settings[VF_SETTINGS_TEXT];

	vf_settings_write(&spec->vf.settings, settings);
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", DESCRIPTION_SCHEMA);
	json_out_str(&o, "id", spec->id);
	json_out_str(&o, "vm", spec->vm);
	if (spec->domain[0]) {
		json_out_str(&o, "domain", spec->domain);
		json_out_str(&o, "target", spec->target);
	}
	json_out_str(&o, "name", spec->name);
	json_out_str(&o, "device", spec->device);
	json_out_str(&o, "node", spec->node);
	json_out_str(&o, "owner", spec->owner);
	json_out_str(&o, "cache", attachment_cache_names[spec->cache]);
	json_out_str(&o, "on_error", attachment_on_error_names[spec->on_error]);
	json_out_array(&o, "spares");
	for (unsigned int i = 0; i < spec->rescue.spare_count; i++)
		json_out_str(&o, NULL, spec->rescue.spares[i]);
	json_out_end(&o);
	if (spec->rescue.fence[0])
		json_out_str(&o, "fence", spec->rescue.fence);
	json_out_u64(&o, "io_timeout_ms", spec->rescue.io_timeout_ms);
	json_out_u64(&o, "spare_allow", spec->rescue.allow);
	if (spec->fingerprint[0])
		json_out_str(&o, "fingerprint", spec->fingerprint);
	if (settings[0])
		json_out_str(&o, "set", settings);
	json_out_u64(&o, "queues", spec->queues);
	json_out_bool(&o, "readonly", spec->readonly);
	json_out_hex(&o, "disk_fs", a->disk.fs);
	json_out_hex(&o, "disk_inode", a->disk.inode);
	json_out_hex(&o, "disk_number", a->disk.number);
	json_out_bool(&o, "disk_direct", a->disk.is_direct);
	json_out_end(&o);
	return json_out_finish(&o, len);
}

int attachment_describe(const struct registry *r, const struct attachment *a, struct err *e)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	auto_free char *text = NULL;
	auto_close int fd = -1;
	size_t len = 0;
	int rc;

	description_path(r, a->spec.id, "", path, sizeof(path));
	description_path(r, a->spec.id, ".new", fresh, sizeof(fresh));
	text = description_text(a, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a description");
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "%s", fresh);
	rc = fdio_write_all(fd, text, len);
	if (rc < 0)
		return err_sys(e, -rc, "%s", fresh);
	return rename(fresh, path) < 0 ? err_sys(e, errno, "%s", path) : 0;
}

void attachment_drop_description(const struct registry *r, const char *id)
{
	char path[PATH_MAX];

	description_path(r, id, "", path, sizeof(path));
	unlink(path);
}

struct description {
	const char *schema, *id, *vm, *name, *device, *node, *owner, *cache;
	const char *disk_fs, *disk_inode, *disk_number;
	const char *on_error, *fingerprint, *fence; /* NULL in one of an earlier iovd */
	const char *domain, *target;                /* NULL: no domain's */
	const char *set;                            /* NULL: nothing */
	const struct json *spares;
	uint64_t queues, io_timeout_ms, spare_allow;
	bool readonly, disk_direct;
};

#define FIELD(key_, type_)                                                                         \
	{                                                                                          \
		.key = #key_, .type = JSON_FIELD_##type_, .required = true,                        \
		.offset = offsetof(struct description, key_)                                       \
	}

static const struct json_field description_fields[] = {
	FIELD(schema, STRING),
	FIELD(id, STRING),
	FIELD(vm, STRING),
	FIELD(name, STRING),
	FIELD(device, STRING),
	FIELD(node, STRING),
	FIELD(owner, STRING),
	FIELD(cache, STRING),
	FIELD(queues, U64),
	FIELD(readonly, BOOL),
	FIELD(disk_fs, STRING),
	FIELD(disk_inode, STRING),
	FIELD(disk_number, STRING),
	{"on_error", JSON_FIELD_STRING, .offset = offsetof(struct description, on_error)},
	{"fingerprint", JSON_FIELD_STRING, .offset = offsetof(struct description, fingerprint)},
	{"spares", JSON_FIELD_ARRAY, .offset = offsetof(struct description, spares)},
	{"fence", JSON_FIELD_STRING, .offset = offsetof(struct description, fence)},
	{"io_timeout_ms", JSON_FIELD_U64, .offset = offsetof(struct description, io_timeout_ms)},
	{"spare_allow", JSON_FIELD_U64, .offset = offsetof(struct description, spare_allow)},
	{"disk_direct", JSON_FIELD_BOOL, .offset = offsetof(struct description, disk_direct)},
	{"domain", JSON_FIELD_STRING, .offset = offsetof(struct description, domain)},
	{"target", JSON_FIELD_STRING, .offset = offsetof(struct description, target)},
	{"set", JSON_FIELD_STRING, .offset = offsetof(struct description, set)},
};

static const struct json_params description_params = {
	description_fields, ARRAY_SIZE(description_fields), sizeof(struct description)};

static int description_take_rescue(const struct description *d, struct attachment_rescue *r)
{
	size_t count = d->spares ? json_count(d->spares) : 0;

	r->io_timeout_ms = d->io_timeout_ms;
	r->allow = (unsigned int)d->spare_allow;
	if (count > ATTACHMENT_SPARES_MAX ||
		!str_copy(r->fence, sizeof(r->fence), d->fence ? d->fence : ""))
		return -1;
	for (size_t i = 0; i < count; i++) {
		const char *device = json_str(json_item(d->spares, i));

		if (!device || !str_copy(r->spares[i], PATH_MAX, device))
			return -1;
		r->spare_count++;
	}
	return 0;
}

static int description_take_spec(const struct description *d, struct attachment_spec *spec)
{
	*spec = (struct attachment_spec){
		.queues = (unsigned int)d->queues,
		.readonly = d->readonly,
	};
	while (spec->cache < ATTACHMENT_CACHES &&
		strcmp(d->cache, attachment_cache_names[spec->cache]) != 0)
		spec->cache++;
	while (d->on_error && spec->on_error < ON_ERRORS &&
		strcmp(d->on_error, attachment_on_error_names[spec->on_error]) != 0)
		spec->on_error++;
	str_copy(
		spec->fingerprint, sizeof(spec->fingerprint), d->fingerprint ? d->fingerprint : "");
	if (!str_copy(spec->domain, sizeof(spec->domain), d->domain ? d->domain : "") ||
		!str_copy(spec->target, sizeof(spec->target), d->target ? d->target : ""))
		return -1;
	if (d->set && vf_settings_read(d->set, &spec->vf.settings, NULL) < 0)
		return -1;
	if (description_take_rescue(d, &spec->rescue) < 0 || spec->on_error == ON_ERRORS ||
		strcmp(d->schema, DESCRIPTION_SCHEMA) != 0 || spec->cache == ATTACHMENT_CACHES ||
		d->queues == 0 || d->queues > VU_MAX_QUEUES)
		return -1;
	return str_copy(spec->id, sizeof(spec->id), d->id) && keeper_id_is_valid(spec->id) &&
			       str_copy(spec->vm, sizeof(spec->vm), d->vm) &&
			       name_is_valid(spec->vm) &&
			       str_copy(spec->name, sizeof(spec->name), d->name) &&
			       name_is_valid(spec->name) &&
			       str_copy(spec->device, sizeof(spec->device), d->device) &&
			       str_copy(spec->node, sizeof(spec->node), d->node) &&
			       (spec->node[0] == '/' || nbd_uri_is(spec->node) ||
				       tap_node_is(spec->node)) &&
			       str_copy(spec->owner, sizeof(spec->owner), d->owner)
		       ? 0
		       : -1;
}

int attachment_read_description(const struct registry *r, const char *id,
	struct attachment_spec *spec, struct attachment_disk *disk, struct err *e)
{
	auto_free char *text = malloc(DESCRIPTION_MAX);
	auto_json struct json *json = NULL;
	struct description d;
	char path[PATH_MAX];
	ssize_t len;

	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a description");
	description_path(r, id, "", path, sizeof(path));
	len = fdio_read_file(AT_FDCWD, path, text, DESCRIPTION_MAX);
	if (len < 0)
		return err_sys(e, (int)-len, "%s", path);
	json = json_parse(text, (size_t)len, e);
	if (!json || json_read_params(json, &description_params, &d, e) < 0)
		return err_wrap(e, "%s", path);
	if (description_take_spec(&d, spec) < 0 || strcmp(spec->id, id) != 0 ||
		parse_u64(d.disk_fs, UINT64_MAX, &disk->fs) < 0 ||
		parse_u64(d.disk_inode, UINT64_MAX, &disk->inode) < 0 ||
		parse_u64(d.disk_number, UINT64_MAX, &disk->number) < 0)
		return err_set(e, ERR_FAILED, "DESCRIPTION", "%s makes no sense", path);
	disk->is_direct = d.disk_direct;
	return 0;
}
