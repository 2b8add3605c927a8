/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading XML as libvirt prints it: element by element, without building anything. Elements,
 * attributes and their five entities; comments, processing instructions and text are passed over.
 * What is not well-formed ends the walk with an error; nothing outside of the text is read.
 *
 *	xml_begin(&x, text);
 *	while (xml_next(&x))
 *		if (xml_is(&x, "domain/devices/disk/target"))
 *			xml_attribute(&x, "dev", dev, sizeof(dev));
 */
#pragma once

#include "lib/err.h"

#define XML_PATH_MAX  256
#define XML_MAX_DEPTH 32

struct xml {
	/* of the element that begins here */
	char path[XML_PATH_MAX]; /* "domain/devices/disk" */
	const char *element;     /* its '<' */
	bool is_empty;           /* <so/> */
	/* private: */
	const char *at; /* behind its '>' */
	const char *attributes;
	unsigned int depth;
	bool closes; /* the path ends with an element that is over */
	bool failed;
};

/* `text` stays as it is until the walk is over. */
void xml_begin(struct xml *x, const char *text);

/* On to the next element that begins; false at the end, or when it is no XML (xml_failed()). */
bool xml_next(struct xml *x);
bool xml_failed(const struct xml *x);

bool xml_is(const struct xml *x, const char *path);

/* The value of an attribute of this element; false (and "") if it has none, or it does not fit. */
bool xml_attribute(const struct xml *x, const char *name, char *value, size_t size);

/* Behind the '>' that begins this element: where its content is. */
const char *xml_content(const struct xml *x);

/* Behind the end of this element; NULL when it has none. The walk stays where it is. */
const char *xml_end(const struct xml *x);

/* `text` for an attribute in '': returns false if it does not fit. */
bool xml_escape(char *out, size_t size, const char *text);
