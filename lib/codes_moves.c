/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of moves from one host to another: migrate. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"MIG-VERDICT", "the VM cannot move there",
		.cause = "At least one of its devices cannot; each says why.",
		.seen = "The verdict of the destination.",
		.fix = "See to what is named there. Nothing was changed."},
	{"MIG-OTHER-VOLUME", "the destination does not show the same volume",
		.cause = "A VM may go on only on the very data that it has here. A disk is known "
			 "by its fingerprint; a file by its number, and by the lock that the "
			 "source's worker holds on it; an NBD export by its name, if that "
			 "means the same server on both hosts, or if --map says so.",
		.seen = "Fingerprint, or inode and lock, there and here.",
		.fix = "Say with --map OLD=NEW what the volume is called there; or make the "
		       "storage reachable there."},
	{"MIG-CACHE", "the volume goes through a page cache",
		.cause = "What one host has in its page cache the other one does not see, nor what "
			 "is stale there.",
		.seen = "How the attachment caches, and whether direct I/O is possible there.",
		.fix = "Attach it with --cache none, on storage that can do direct I/O."},
	{"MIG-DIFFERS", "what is handed over is not what was reserved",
		.cause = "Attachments came or went on one side after the move had begun.",
		.seen = "Names, queues and access of both sides.",
		.fix = "Begin the move again: iovctl migrate VM URI --begin."},
	{"MIG-REFUSED", "the destination does not take the baton any more",
		.cause = "The move was ended there, or the baton was given back meanwhile.",
		.seen = "The destination's record of the move.",
		.fix = "Begin the move again. The VM goes on where it was."},
	{"MIG-RUNS", "the VM runs at the destination",
		.cause = "Its VMM there has started its disks, so the baton stays there: of two "
			 "copies of a VM only one may go on.",
		.seen = "The destination's answer.",
		.fix = "iovctl migrate VM URI --end here, and end the VMM that is left."},
	{"MIG-UNDER-WAY", "the VM is about to move, or has moved away",
		.cause = "While it moves its devices stay as they are.",
		.seen = "The state of the move.",
		.fix = "Wait for the move; or iovctl migrate VM URI --end, or --abort."},
	{"MIG-NO-BATON", "nobody hands over the machine's I/O",
		.cause = "A domain comes from another host whose iovd was not told, and cannot be "
			 "asked; nor is there a lease on each of its volumes, which that iovd "
			 "holds, and "
			 "could pass on: nothing would keep both hosts from writing.",
		.seen = "The description in the domain's metadata, what the iovd that it names "
			"answers, and what is written and locked on the volumes.",
		.fix = "Set `address` in iovd.conf on both hosts, so that they reach each other; "
		       "or "
		       "move it with iovctl migrate. Nothing was changed."},
	{"LEASE-HELD", "another host has the lease on the volume",
		.cause = "Which of two hosts may write to a volume, where their iovds cannot talk, "
			 "is "
			 "decided by a lease on the volume itself; and that one has it, or waits "
			 "for it.",
		.seen = "Who holds it, for which VM, since which epoch: the attribute "
			"user.iovd.lease of the file, and locks behind its end.",
		.fix = "Nothing, while a machine moves. Else detach the volume there: a host that "
		       "is "
		       "dead holds none."},
	{"LEASE-NONE", "the volume can hold no lease",
		.cause =
			"A lease is a lock and an extended attribute of a file. Block devices, NBD "
			"exports, and files on file systems without either (NFS before 4.2, FUSE, "
			"VFAT) "
			"have none.",
		.seen = "What the volume is, or the error of the file system.",
		.fix = "It is attached all the same. To move its machine, let the two iovds reach "
		       "each "
		       "other: `address` in iovd.conf, or iovctl migrate."},
	{"LEASE-BAD", "what is written on the volume is no lease",
		.cause = "Something else than iovd, or another version of it, has written the "
			 "attribute.",
		.seen = "user.iovd.lease: getfattr -d FILE.",
		.fix = "When no iovd has the file attached: setfattr -x user.iovd.lease FILE."},
	{"MIG-STUCK", "the machine cannot leave with what is in flight",
		.cause = "Its VMM has stopped it, and requests of one of its disks did not end in "
			 "the time that --carry gave them. To be carried to the other host it "
			 "has to be shown that they are not done here later: they were never "
			 "sent, or the command of --fence has ended the path. Of a domain that "
			 "has no such command a request took that long before it was stopped.",
		.seen = "What is in flight, whether there is a command and what it said, and the "
			"answer of the destination.",
		.fix = "The machine goes on here: a domain by itself, another one when its VMM is "
		       "told so. It can move again after iovctl migrate VM URI --abort. Look at "
		       "the disk, or attach it with --fence; or give it more time."},
	{"MIG-LOST", "the VM runs on neither host",
		.cause = "Its VMM here and the one there have died while it moved, before one of "
			 "them had all of it.",
		.seen = "What the two libvirts say of the domain.",
		.fix = "Start it where it is defined: its disks are as after a loss of power, and "
		       "iovd has taken back what it had here."},
	{"MIG-OFF", "the domain does not run",
		.cause = "Only a VM that runs is moved with its memory.",
		.seen = "What libvirt says of the domain.",
		.fix = "Start it first; or take its definition over: virsh dumpxml, virsh define."},
	{"MIG-GIVEN-UP", "the move was given up",
		.cause = "Its time (--timeout) was over before all of the memory was sent, or its "
			 "job was cancelled, or its VMM has given it up.",
		.seen = "libvirt's own words, or that the VMM does not send it any more. The VM "
			"goes on where it was.",
		.fix = "Try again when the guest writes less, or with more time."},
	{"NO-MOVE", "the VM is not about to move from here",
		.cause = "--end and --abort are about a move that --begin has begun.",
		.seen = "The moves that there are.", .fix = "iovctl migrate VM URI --begin first."},
	{"STEP", "there is no such step of a move",
		.cause = "The call names a step that does not exist.", .seen = "The call.",
		.fix = "check, begin, end or abort."},
	{"VMM-UNMANAGED", "nobody here can tell the VMM to send the memory",
		.cause = "The VM is not libvirt's: whoever started its VMM has to.",
		.seen = "The VM has no libvirt domain.",
		.fix = "--begin, then the VMM's own migration, then --end."},
	{"URI", "that does not say where the other host is",
		.cause = "The iovd of another host is reached by ssh, or by a socket; its libvirt, "
			 "where a whole domain is to move, by a URI of libvirt's.",
		.seen = "The URI.",
		.fix = "qemu+ssh://HOST/system says both. Else name the iovd with --iovd: "
		       "ssh://HOST, or unix:///PATH."},
	{"PEER-GONE", "the other iovd does not answer",
		.cause = "It has ended, or the way there is broken.",
		.seen = "The error of the connection, or how long there was no answer.",
		.fix = "See whether `ssh HOST iovctl bridge` works by itself."},
};
const struct code_area codes_moves = {"moves", pages, ARRAY_SIZE(pages)};
