/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of attachments and their machines: attach, run, quiesce, recover, jobs. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"PATH", "the device cannot be given by that path",
		.cause = "Each path is for certain devices: passthrough for PCI functions, "
			 "paravirt for "
			 "block devices, image files and NBD volumes.",
		.seen = "The device's class, and its node in /dev.",
		.fix = "Take the path that is for it, which auto does."},
	{"PATH-OPTION", "the option means nothing on that path",
		.cause = "Queues, caches and read-only are a matter of iovd's own disks; a device "
			 "that is passed through is as it is, and a network has none of a disk's.",
		.seen = "The options of the command.", .fix = "Leave the option out."},
	{"ALLOW", "that refusal cannot be waived",
		.cause = "A waiver names one check, and only some can be waived.",
		.seen = "The code that was given.",
		.fix = "iovctl explain CODE says what waives it, if anything does."},
	{"CACHE", "there is no such way of caching",
		.cause = "A disk is used past the host's page cache (none), or through it "
			 "(writeback).",
		.seen = "The word that was given.", .fix = "--cache none or --cache writeback."},
	{"ON-FAULT", "there is no such thing to do on faults",
		.cause = "A storm of DMA faults is reported, or the device that causes it is "
			 "blocked "
			 "and reset.",
		.seen = "The option's value.", .fix = "--on-fault report or --on-fault block."},
	{"ON-ERROR", "there is no such thing to do on errors",
		.cause = "A request that the disk cannot do is reported to the guest, or held.",
		.seen = "The word that was given.", .fix = "--on-error report or --on-error hold."},
	{"NAME", "that cannot be a name",
		.cause = "Names become parts of paths and of other programs' command lines.",
		.seen = "The word that was given.",
		.fix = "1 to 32 of A-Z a-z 0-9 . _ and -, with no dot in front."},
	{"NAME-TAKEN", "the machine has an attachment of that name",
		.cause = "Within a machine names are unique.", .seen = "iovd's own attachments.",
		.fix = "Give it another name, with --as."},
	{"USER", "there is no such user",
		.cause = "Sockets and nodes are given to a user of the host by name.",
		.seen = "getpwnam() finds nobody.",
		.fix = "Name one of /etc/passwd, such as libvirt-qemu."},
	{"OWNER", "the user cannot use what belongs to another one",
		.cause = "Each attachment belongs to one user, and the VMM runs as one user.",
		.seen = "The owners of the machine's attachments, and --user.",
		.fix = "Attach all of them with the same --owner, and run the VMM as that user."},
	{"PATH-TOO-LONG", "a path is longer than the kernel takes",
		.cause = "The name of a UNIX socket has room for 107 bytes.",
		.seen = "The length of runtime folder, machine and attachment together.",
		.fix = "Use shorter names, or a shorter --runtime-dir."},
	{"NOT-READY", "the attachment is in no state to be handed over",
		.cause = "A VMM takes an attachment that is ready and that nobody has.",
		.seen = "The attachment's state.",
		.fix = "iovctl show ATTACHMENT: wait until it is ready, or end the VMM that has "
		       "it."},
	{"GONE", "it went while the command was at work",
		.cause = "The attachment was taken back, or the one who asked for it hung up.",
		.seen = "iovd's own attachments and connections.",
		.fix = "Nothing; repeat the command if it is still wanted."},
	{"BUSY", "something else is being done to it",
		.cause = "An attachment is attached, detached, renewed, quiesced or recovered by "
			 "one command "
			 "at a time.",
		.seen = "The attachment's state.",
		.fix = "Wait for the other one: iovctl list jobs."},
	{"SPARE", "such spares are not possible",
		.cause = "Spares take over what is held, so errors must be held (--on-error hold); "
			 "there are at most four, each named once.",
		.seen = "What was asked for.", .fix = "Give --on-error hold, and each path once."},
	{"FENCE", "the path is not shown to be ended",
		.cause = "A command was given with --fence that ends a path, and its exit status 0 "
			 "is the proof that nothing lands by it any more. It did not end so, or is "
			 "no program's whole path.",
		.seen = "Its exit status, and what it said.",
		.fix = "Run it by hand with the environment that iovctl(1) lists, and repair it."},
	{"STUCK", "requests do not end",
		.cause = "A quiesce waits until nothing is in flight, and the disk has not "
			 "answered in "
			 "time. All is as it was before.",
		.seen = "The requests that are listed: kind, sector, length, age.",
		.fix = "Give it longer (--timeout), see to the disk, or quiesce with --carry."},
	{"IO-STUCK", "a dead worker's requests do not end",
		.cause = "A successor begins only when everything that its predecessor sent to the "
			 "disk is "
			 "over; the disk does not answer.",
		.seen = "The worker's io_uring, which outlived it: submissions without completion.",
		.fix = "See to the disk (multipath, cable, server). The machine goes on by itself "
		       "then."},
	{"NOT-HELD", "nothing is held there",
		.cause = "recover onto another device ends a hold, and there is none.",
		.seen = "The attachment's state.",
		.fix = "Nothing, unless the device is to be another one: detach and attach."},
	{"STALE-SPARE", "nothing shows that the spare has the same data",
		.cause = "A spare must be another path to the very same volume, or a copy that you "
			 "know to "
			 "be current: else the guest would find old data.",
		.seen = "The WWIDs (or NGUID, EUI-64) of both, which differ or are missing.",
		.fix = "Name another path of the same volume.",
		.waiver = "recover or attach --allow STALE-SPARE: you know that it is current"},
	{"LATE-WRITE", "a write of the failed disk may land later",
		.cause = "What went through the host's page cache is written by the kernel when it "
			 "likes, "
			 "also after the requests were done again elsewhere.",
		.seen = "The attachment's cache is writeback, or its file cannot do direct I/O.",
		.fix = "Cut the failed disk off first (unplug, fence, end its server).",
		.waiver = "recover or attach --allow LATE-WRITE: nothing can reach it any more"},
	{"JOB-BUSY", "a job works on that object",
		.cause = "Jobs lock what they work on, so that two never meet.",
		.seen = "iovctl list jobs.",
		.fix = "Wait for it (iovctl job ID --wait), or cancel it."},
	{"JOB-GOES-ON", "the job takes longer than was waited",
		.cause = "Waiting has ended, and the job has not.", .seen = "The job's state.",
		.fix = "iovctl job ID --wait; --cancel asks it to stop."},
	{"JOB-CANCELLED", "the job was cancelled",
		.cause = "Somebody asked it to stop, and it did; what it had done was undone.",
		.seen = "The job's state.", .fix = "Begin again, if it is wanted after all."},
	{"JOB-NO-CANCEL", "that job cannot be cancelled",
		.cause = "It is past the point where it could be undone, or too short to be.",
		.seen = "The job's verb and stage.", .fix = "Wait for its end."},
	{"NO-JOB", "there is no such job", .cause = "Jobs that ended are forgotten after a while.",
		.seen = "iovctl list jobs.",
		.fix = "See iovctl list attachments for what came of it."},
	{"WORKER", "the worker does not serve",
		.cause = "Each paravirtual attachment has a process of its own, and this one could "
			 "not "
			 "start, ended at once, or said nothing in time.",
		.seen = "The exit status of iov-worker, and its last words in the log.",
		.fix = "See the log of iovd for its words."},
	{"SOCKET-LIVE", "somebody serves that socket already",
		.cause = "The path belongs to a living program.",
		.seen = "A connection to it is accepted.",
		.fix = "End the other program, or use another path."},
	{"SOCKET-PATH", "a socket cannot be made there",
		.cause = "Something that is no socket is in the way, the folder is missing, or the "
			 "path is "
			 "too long.",
		.seen = "The path that is named.",
		.fix = "Move what is there, or name another path."},
	{"AMBIGUOUS", "several things have that name",
		.cause = "Names are looked for among all kinds of things, and all their names.",
		.seen = "The candidates that are listed.",
		.fix = "Use a full name: an id, or a path such as /sys/class/net/eth1."},
	{"NO-SUCH", "there is nothing of that name",
		.cause = "No device, group, attachment, machine or job is called so.",
		.seen = "What iovd knows at this moment.",
		.fix = "iovctl list devices, groups, attachments, vms or jobs."},
};
const struct code_area codes_vms = {"attachments", pages, ARRAY_SIZE(pages)};
