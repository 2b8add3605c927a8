/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of codes (lib/codes.h), which need no daemon: this program has them itself. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/out.h"
#include "lib/cleanup.h"
#include "lib/codes.h"

#define WIDTH_MIN   40
#define WIDTH_MAX   100
#define LABEL_WIDTH 8

/* --- text ------------------------------------------------------------------------------------- */

static unsigned int page_width(void)
{
	struct winsize ws;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_col)
		return WIDTH_MAX;
	return MIN(MAX(ws.ws_col, WIDTH_MIN), WIDTH_MAX);
}

void out_paragraph(const char *label, unsigned int indent, const char *text)
{
	unsigned int width = page_width(), at = indent;
	bool first = true;

	printf("%-*s", (int)indent, label);
	while (*text) {
		size_t len = strcspn(text, " ");
		auto_free char *word = strndup(text, len);

		if (!word)
			return;
		if (!first && at + 1 + len > width) {
			printf("\n%*s", (int)indent, "");
			at = indent;
		} else if (!first) {
			putchar(' ');
			at++;
		}
		out_safe(stdout, word);
		at += (unsigned int)len;
		first = false;
		text += len + (text[len] == ' ');
	}
	putchar('\n');
}

/* --- documents -------------------------------------------------------------------------------- */

static void put_page(
	struct json_out *o, const char *key, const struct code_page *p, const char *area)
{
	json_out_object(o, key);
	json_out_str(o, "code", p->code);
	json_out_str(o, "area", area);
	json_out_str(o, "title", p->title);
	json_out_str(o, "cause", p->cause);
	json_out_str(o, "seen", p->seen);
	json_out_str(o, "fix", p->fix);
	json_out_str(o, "waiver", p->waiver);
	json_out_end(o);
}

static const char *area_of(const struct code_page *page)
{
	for (size_t i = 0; i < code_area_count; i++)
		if (page >= code_areas[i]->pages &&
			page < code_areas[i]->pages + code_areas[i]->count)
			return code_areas[i]->name;
	return NULL;
}

/* Shows a document that was made here as if a daemon had sent it. */
static int show_own(struct cli *cli, struct json_out *o, const struct out_view *view, struct err *e)
{
	auto_free char *text = NULL;
	size_t len;
	int rc;

	text = json_out_finish(o, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a page");
	cli->reply.parameters = (struct json_span){text, len};
	rc = view ? out_list(cli, view, e) : out_object(cli, "page", e);
	cli->reply.parameters = (struct json_span){NULL, 0};
	return rc;
}

static void print_page(const struct code_page *p)
{
	printf("%s: %s\n\n", p->code, p->title);
	out_paragraph("cause", LABEL_WIDTH, p->cause);
	out_paragraph("seen", LABEL_WIDTH, p->seen);
	out_paragraph("fix", LABEL_WIDTH, p->fix);
	out_paragraph("waiver", LABEL_WIDTH, p->waiver ? p->waiver : "none");
}

int out_page(struct cli *cli, const struct code_page *p, struct err *e)
{
	auto_json_out struct json_out o = {0};

	if (cli->form == OUT_TABLE) {
		print_page(p);
		return 0;
	}
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.code/1");
	put_page(&o, "page", p, area_of(p));
	json_out_end(&o);
	return show_own(cli, &o, NULL, e);
}

int out_pages(struct cli *cli, struct err *e)
{
	static const struct out_view view = {
		"codes", {{"CODE", "code"}, {"AREA", "area"}, {"TITLE", "title"}}};
	auto_json_out struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.codes/1");
	json_out_array(&o, "codes");
	for (size_t i = 0; i < code_area_count; i++)
		for (size_t n = 0; n < code_areas[i]->count; n++)
			put_page(&o, NULL, &code_areas[i]->pages[n], code_areas[i]->name);
	json_out_end(&o);
	json_out_end(&o);
	return show_own(cli, &o, &view, e);
}
