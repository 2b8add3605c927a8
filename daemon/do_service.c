/* SPDX-License-Identifier: GPL-2.0-or-later */
/* org.varlink.service: what every Varlink service answers about itself. */
#include <config.h>
#include <string.h>

#include "daemon/dispatch.h"
#include "daemon/do.h"

static const struct {
	const char *name, *text;
} interfaces[] = {
	{VARLINK_SERVICE, varlink_service_text},
	{IOVD_INTERFACE, varlink_manager_text},
};

void do_get_info(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);

	(void)args;
	json_out_str(o, "vendor", "iovd");
	json_out_str(o, "product", "iovd");
	json_out_str(o, "version", PACKAGE_VERSION);
	json_out_str(o, "url", PACKAGE_URL);
	json_out_array(o, "interfaces");
	for (unsigned int i = 0; i < ARRAY_SIZE(interfaces); i++)
		json_out_str(o, NULL, interfaces[i].name);
	json_out_end(o);
	request_send_reply(rq);
}

struct get_interface_args {
	const char *interface;
};

static const struct json_field get_interface_fields[] = {
	{"interface", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct get_interface_args, interface)},
};
const struct json_params do_get_interface_params = {
	get_interface_fields, ARRAY_SIZE(get_interface_fields), sizeof(struct get_interface_args)};

void do_get_interface(struct request *rq, const void *args)
{
	const struct get_interface_args *a = args;
	struct err e = ERR_INIT;

	for (unsigned int i = 0; i < ARRAY_SIZE(interfaces); i++) {
		if (strcmp(interfaces[i].name, a->interface) != 0)
			continue;
		json_out_str(request_begin_reply(rq), "description", interfaces[i].text);
		request_send_reply(rq);
		return;
	}
	err_set(&e, ERR_NOT_FOUND, "INTERFACE", "there is no interface %s", a->interface);
	request_fail_standard(rq, "InterfaceNotFound", "interface", a->interface, &e);
}
