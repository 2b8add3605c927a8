/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `iovctl top`: all attachments, measured between two looks, again and again. On a terminal it has the
 * screen for itself, and takes keys; else, or with -n, each measurement is printed behind the one before. A
 * daemon that goes away while it runs is waited for: then is when people look.
 *
 * The terminal is as it was before on every way out: of signals that end a program only a flag is
 * taken, and ^Z gives the screen back before it stops.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/out.h"
#include "cli/term.h"
#include "cli/top.h"
#include "lib/cleanup.h"

#define INTERVAL_MS     1000
#define INTERVAL_MIN_MS 100
#define FIRST_MS        300 /* until rates are known */
#define INTERVAL_MAX_MS 60000
#define KEY_INTERRUPT   3  /* ^C */
#define KEY_STOP        26 /* ^Z */
#define KEY_REDRAW      12 /* ^L */

static volatile sig_atomic_t was_signalled; /* by one that ends us */

struct top {
	struct cli *cli;
	const struct cmd *cmd;
	uint64_t interval_ms;
	enum top_order order;
	bool is_paused, is_over;
	struct top_look before, now;
	char trouble[200]; /* why there was no answer; "" */
	struct termios saved;
};

/* --- asking ----------------------------------------------------------------------------------- */

static struct json *ask_for(struct top *t, const char *method, struct err *e)
{
	if (call_daemon(t->cli, method, NULL, NULL, false, e) == 0)
		return out_parse(t->cli, e);
	client_close(t->cli->client); /* the next look connects anew */
	t->cli->client = NULL;
	return NULL;
}

static int ask(struct top *t, struct top_look *look, struct err *e)
{
	auto_json struct json *faults = ask_for(t, "ListFaults", e);
	struct json *reply = faults ? ask_for(t, "ListAttachments", e) : NULL;

	if (!reply || top_look_read(look, reply, e) < 0)
		return -1;
	top_look_take_faults(look, faults);
	return 0;
}

/* One more measurement, or why there is none. */
static int measure(struct top *t, struct err *e)
{
	struct top_look look = {.reply = NULL};

	t->trouble[0] = '\0';
	if (ask(t, &look, e) < 0) {
		str_copy(t->trouble, sizeof(t->trouble), e->msg);
		return -1;
	}
	top_look_compare(&look, &t->before);
	top_look_release(&t->now);
	t->now = look;
	return 0;
}

/* What was now is before; the reply is needed no more than its numbers. */
static void turn(struct top *t)
{
	if (!t->now.rows)
		return;
	top_look_release(&t->before);
	t->before = t->now;
	t->now = (struct top_look){.reply = NULL};
}

/* --- one behind the other --------------------------------------------------------------------- */

static void print(const struct top *t)
{
	if (out_is_json(t->cli))
		top_print_json(&t->now);
	else if (t->cli->form == OUT_PLAIN)
		top_print_plain(&t->now);
	else
		top_print(&t->now, term_columns(), 0);
	fflush(stdout);
}

/* Waits for the end of the interval, or for a signal. */
static void wait_interval(const struct top *t)
{
	poll(NULL, 0, (int)t->interval_ms);
}

/* `count` 0: without end. */
static int run_lines(struct top *t, uint64_t count, struct err *e)
{
	if (ask(t, &t->before, e) < 0)
		return -1;
	for (uint64_t i = 0; !count || i < count; i++) {
		wait_interval(t);
		if (was_signalled)
			return 0;
		if (measure(t, e) < 0)
			return -1;
		top_look_sort(&t->now, t->order);
		if (i && t->cli->form == OUT_TABLE)
			putchar('\n');
		print(t);
		if (ferror(stdout))
			return err_set(
				e, ERR_FAILED, "OUTPUT", "standard output cannot be written");
		turn(t);
	}
	return 0;
}

/* --- the screen ------------------------------------------------------------------------------- */

static void take_screen(struct top *t)
{
	struct termios raw = t->saved;

	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO | ISIG);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	fputs("\033[?1049h\033[?25l", stdout); /* the other screen, without a cursor */
}

static void give_screen_back(const struct top *t)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->saved);
}

static void draw(const struct top *t)
{
	unsigned int columns = term_columns(), rows = term_rows();
	char keys[120];

	fputs("\033[H\033[2J", stdout);
	if (t->trouble[0]) {
		term_put(t->trouble, columns);
		puts("\nit is asked again");
	} else {
		top_print(&t->now, columns, rows ? rows - 1 : 0);
	}
	snprintf(keys, sizeof(keys), "q quit  s sort: %s  p %s  + - every %.1f s",
		top_order_names[t->order], t->is_paused ? "goes on" : "pause",
		(double)t->interval_ms / 1000);
	printf("\033[%u;1H\033[2m", rows);
	term_put(keys, columns && term_width(keys) > columns ? columns : 0);
	fputs("\033[0m", stdout);
	fflush(stdout);
}

static void stop_here(struct top *t)
{
	give_screen_back(t);
	raise(SIGSTOP);
	take_screen(t);
}

static void change_interval(struct top *t, uint64_t ms)
{
	t->interval_ms = MAX(MIN(ms, INTERVAL_MAX_MS), INTERVAL_MIN_MS);
}

static void take_key(struct top *t, char key)
{
	switch (key) {
	case 'q':
	case 'Q':
	case KEY_INTERRUPT:
		t->is_over = true;
		return;
	case 's':
		t->order = (t->order + 1) % TOP_ORDERS;
		top_look_sort(&t->now, t->order);
		return;
	case 'p':
	case ' ':
		t->is_paused = !t->is_paused;
		return;
	case '+':
		change_interval(t, t->interval_ms * 2);
		return;
	case '-':
		change_interval(t, t->interval_ms / 2);
		return;
	case KEY_STOP:
		stop_here(t);
		return;
	case KEY_REDRAW:
	default:
		return;
	}
}

/* For poll(): what is left until then; without end while it is paused. */
static int time_left(const struct top *t, uint64_t end)
{
	uint64_t now = now_ms();

	return t->is_paused ? -1 : now < end ? (int)(end - now) : 0;
}

/* Until it is time for the next look: keys, and a window that changes its size (EINTR). */
static void take_keys(struct top *t, uint64_t wait_ms)
{
	uint64_t end = now_ms() + wait_ms;

	while (!t->is_over && !was_signalled && time_left(t, end)) {
		struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
		int rc = poll(&p, 1, time_left(t, end));
		char key;

		if (rc == 0)
			return;
		if (rc > 0 && read(STDIN_FILENO, &key, 1) == 1) {
			take_key(t, key);
			end = MIN(end, now_ms() + t->interval_ms);
		} else if (rc > 0) {
			t->is_over = true; /* the terminal is gone */
		}
		if (!t->is_over)
			draw(t);
	}
}

static int run_screen(struct top *t, struct err *e)
{
	struct err lost;

	if (ask(t, &t->now, e) < 0) /* without a daemon there is nothing to wait for */
		return -1;
	if (tcgetattr(STDIN_FILENO, &t->saved) < 0)
		return err_sys(e, errno, "the terminal");
	take_screen(t);
	for (bool first = true; !t->is_over && !was_signalled; first = false) {
		draw(t);
		take_keys(t, first ? MIN(FIRST_MS, t->interval_ms) : t->interval_ms);
		turn(t);
		lost = (struct err)ERR_INIT;
		if (measure(t, &lost) == 0)
			top_look_sort(&t->now, t->order);
	}
	give_screen_back(t);
	return 0;
}

/* --- the verb --------------------------------------------------------------------------------- */

static void note_signal(int signum)
{
	was_signalled = signum;
}

static void note_resize(int signum)
{
	(void)signum; /* poll() ends, and that is all it takes */
}

/* Without SA_RESTART: what waits is to look what happened. */
static void take_signals(void)
{
	const int ends[] = {SIGTERM, SIGHUP, SIGINT};
	struct sigaction end = {.sa_handler = note_signal}, resize = {.sa_handler = note_resize};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &end, NULL);
	sigaction(SIGWINCH, &resize, NULL);
}

static int top_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	const char *count = args_option(cmd, args, "-n");
	const char *interval = args_option(cmd, args, "--interval");
	struct top t = {.cli = cli, .cmd = cmd, .interval_ms = INTERVAL_MS};
	bool has_screen = !count && cli->form == OUT_TABLE && isatty(STDIN_FILENO) && term_rows();
	uint64_t n = 0;
	int rc;

	if (count && (parse_u64(count, INT64_MAX, &n) < 0 || !n))
		return err_set(e, ERR_USAGE, "USAGE", "-n takes a number from 1 on");
	if (interval && (parse_u64(interval, INTERVAL_MAX_MS, &t.interval_ms) < 0 ||
				t.interval_ms < INTERVAL_MIN_MS))
		return err_set(e, ERR_USAGE, "USAGE", "--interval takes %d to %d milliseconds",
			INTERVAL_MIN_MS, INTERVAL_MAX_MS);
	take_signals();
	rc = has_screen ? run_screen(&t, e) : run_lines(&t, n, e);
	top_look_release(&t.before);
	top_look_release(&t.now);
	return rc;
}

extern const struct cmd cmd_top;
const struct cmd cmd_top = {
	.name = "top",
	.summary = "Shows what all attachments do, measured again and again.",
	.options =
		{
			{"-n", NULL, CMD_NUMBER, "COUNT",
				.help = "so many measurements, one behind the other, without the "
					"screen"},
			{"--interval", NULL, CMD_NUMBER, "MS",
				.help = "between two looks; without it, a second"},
		},
	.run = top_run,
};
