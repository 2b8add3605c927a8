# SPDX-License-Identifier: GPL-2.0-or-later
# What bash completes after "iovctl": verbs and options as the help text lists them, names as the
# daemon knows them.

_iovctl_ids()
{
	"$iovctl" ${socket:+-s "$socket"} -o plain list "$1" 2>/dev/null | cut -f1
}

# What the verb's help says may stand here: its options, or the choices of an option.
_iovctl_options()
{
	"$iovctl" "$1" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p'
}

_iovctl_choices()
{
	"$iovctl" "$1" --help 2>/dev/null | sed -n "s/^  $2 \\([a-z|]*\\) .*/\\1/p" | tr '|' ' '
}

_iovctl_verbs()
{
	"$iovctl" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'
}

# Sets `verb` and how many words came after it; and `socket`, if one is named.
_iovctl_parse()
{
	local i=1

	while ((i < COMP_CWORD)); do
		case ${COMP_WORDS[i]} in
		-s)
			socket=${COMP_WORDS[++i]}
			;;
		-o)
			((++i))
			;;
		-*) ;;
		*)
			if [[ -z $verb ]]; then
				verb=${COMP_WORDS[i]}
			else
				((++words))
			fi
			;;
		esac
		((++i))
	done
}

# The names that fit as the next word of the verb.
_iovctl_words()
{
	case $verb:$words in
	:*)
		_iovctl_verbs
		;;
	list:0)
		"$iovctl" list --help 2>/dev/null | sed -n '1s/.* \([a-z|]*|[a-z|]*\).*/\1/p' | tr '|' ' '
		;;
	attach:0)
		_iovctl_ids devices
		;;
	attach:1)
		_iovctl_ids vms
		;;
	explain:0)
		_iovctl_ids devices
		_iovctl_ids codes
		;;
	group:0)
		_iovctl_ids groups
		_iovctl_ids devices
		;;
	bind:0 | release:0)
		_iovctl_ids devices
		;;
	bind:1)
		echo vfio
		;;
	save:0 | quiesce:0 | resume:0)
		_iovctl_ids vms
		;;
	detach:0)
		_iovctl_ids attachments
		;;
	run:0)
		_iovctl_ids vms
		;;
	vf:0)
		echo create set
		;;
	vf:1)
		_iovctl_ids devices
		;;
	vf:*)
		echo mac= vlan= qos= spoofchk=on spoofchk=off trust=on trust=off min_tx_rate= \
			max_tx_rate= state=auto state=enable state=disable
		;;
	job:0)
		_iovctl_ids jobs
		;;
	show:0)
		echo host
		_iovctl_ids devices
		_iovctl_ids attachments
		_iovctl_ids vms
		_iovctl_ids jobs
		_iovctl_ids groups
		;;
	esac
}

_iovctl()
{
	local iovctl=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local verb='' words=0 socket='' found

	_iovctl_parse
	case $previous in
	-s)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	-o)
		found='table json jsonl plain'
		;;
	--vm)
		found=$(_iovctl_ids vms)
		;;
	--owner | --user)
		mapfile -t COMPREPLY < <(compgen -u -- "$current")
		return
		;;
	--path | --cache | --type)
		found=$(_iovctl_choices "$verb" "$previous")
		;;
	*)
		if [[ $current == -* ]]; then
			found="-s -o --help $(if [[ $verb ]]; then _iovctl_options "$verb"; fi)"
		else
			found=$(_iovctl_words)
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$found" -- "$current")
	if [[ $verb == attach && $words == 0 && $current == /* ]]; then
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
	fi
	# A colon parts words for readline; what stands before the last one is there already.
	if [[ $current == *:* ]] && declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$current"
	fi
}

complete -o default -F _iovctl iovctl
