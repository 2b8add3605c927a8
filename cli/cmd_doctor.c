/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/out.h"

static void print_parts(const struct json *parts)
{
	for (size_t i = 0; i < json_count(parts); i++) {
		const struct json *part = json_item(parts, i);

		printf("%-14s %-4s ", json_member_str(part, "what") ?: "?",
			json_is_true(json_member(part, "works")) ? "ok" : "-");
		out_safe(stdout, json_member_str(part, "detail") ?: "");
		putchar('\n');
	}
}

static void print_checkup(const struct json *doctor, uint64_t problems)
{
	const struct json *findings = json_member(doctor, "findings");

	print_parts(json_member(doctor, "parts"));
	if (json_count(findings))
		putchar('\n');
	out_findings(findings, NULL, 0, true);
	printf("\n%llu problem%s; iovctl explain CODE says more\n", (unsigned long long)problems,
		problems == 1 ? "" : "s");
}

static void print_plain(const struct json *doctor)
{
	const struct json *findings = json_member(doctor, "findings");

	for (size_t i = 0; i < json_count(findings); i++) {
		const struct json *f = json_item(findings, i);

		printf("%s\t%s\t", json_member_str(f, "weight") ?: "?",
			json_member_str(f, "code") ?: "?");
		out_safe(stdout, json_member_str(f, "evidence") ?: "");
		putchar('\n');
	}
}

/* Problems are an answer, not an error: nothing is said of them but the exit status. */
static int doctor_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_json struct json *reply = NULL;
	const struct json *doctor;
	uint64_t problems;

	if (call_daemon(cli, "Doctor", cmd, args, false, e) < 0)
		return -1;
	reply = out_parse(cli, e);
	if (!reply)
		return -1;
	doctor = json_member(reply, "doctor");
	if (!json_u64(json_member(doctor, "problems"), &problems))
		return err_set(e, ERR_FAILED, "REPLY", "the daemon's answer has no problems");
	if (out_is_json(cli))
		out_raw(cli);
	else if (cli->form == OUT_PLAIN)
		print_plain(doctor);
	else
		print_checkup(doctor, problems);
	if (!problems)
		return 0;
	e->kind = ERR_REFUSED;
	return -1;
}

extern const struct cmd cmd_doctor;
const struct cmd cmd_doctor = {
	.name = "doctor",
	.summary = "Checks the host: what works, what does not, and what to change where.",
	.run = doctor_run,
};
