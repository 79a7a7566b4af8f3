/** Ends the modes that the agents switch on in a terminal; the first one moves the cursor when it is off. */
export const TERMINAL_RESET =
  "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?2026l\x1b[<u\x1b[?25h\x1b[0m";

/** The same where the screen may be the shell's already: leaves the cursor where it is. */
const RESET_IN_PLACE = TERMINAL_RESET.replace("?1049l", "?1047l");

/**
 * The guard: a POSIX shell script that outlives the runner by a few seconds and ends what the runner started.
 *
 * Reads one command a line from stdin. At the end of input without `bye` (the runner was killed) it ends all
 * groups and everything that carries the run's marker. Deno may not read /proc under the flags we ship with,
 * so the marker is also searched here on request.
 *
 * Arguments: 1 run id, 2 pid of the runner. Commands: `group PGID`, `gone PGID`, `sweep TOKEN [NAME=VALUE]` (kills
 * what carries the run's marker, or the one given; answers `swept TOKEN COUNT`), `terminal DEVICE MODES` (is put in
 * order at the end; its agent is asked before it is killed), `deadline SECONDS` (0 disarms), `bye`.
 *
 * It ignores TERM, INT and HUP: a terminal that closes or an operator's `kill -TERM -PGID` must not take the
 * guard before its work is done. It carries no marker itself, nor do its helpers.
 */
export const GUARD_SCRIPT = String.raw`
set -u
run_id=$1
runner=$2
marker="AGENT_RELAY_RUN_ID=$run_id"
groups=""
watchdog=""
terminal=""
modes=""
trap '' TERM INT HUP PIPE
start_of() {
  if [ -r "/proc/$1/stat" ]; then sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
  else ps -o lstart= -p "$1" 2>/dev/null; fi
}
parent_of() {
  if [ -r "/proc/$1/stat" ]; then sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f2
  else ps -o ppid= -p "$1" 2>/dev/null | tr -d ' '; fi
}
runner_start=$(start_of "$runner")
marked() {
  if [ -d /proc/self ]; then
    # shellcheck disable=SC2013 # pids are words
    for pid in $(grep -lzsxF -- "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
      case $(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1) in Z | X | '') ;; *) echo "$pid" ;; esac
    done
  else
    # Looked through by the shell itself: a helper that is told what to look for would be found by it.
    list=$(ps -axwwE -o pid=,command= 2>/dev/null)
    printf '%s\n' "$list" | while read -r pid rest; do
      case " $rest " in *" $1 "*) echo "$pid" ;; esac
    done
  fi
}
sweep() {
  empty=0
  count=0
  tries=0
  while [ "$empty" -lt 2 ] && [ "$tries" -lt 40 ]; do
    tries=$((tries + 1))
    found=$(marked "$1")
    if [ -z "$found" ]; then
      empty=$((empty + 1))
    else
      empty=0
      for pid in $found; do
        kill -KILL "$pid" 2>/dev/null && count=$((count + 1))
      done
    fi
    sleep 0.05
  done
  swept=$count
}
# What has the person's terminal gets the time to put it back in order itself.
ask_marked() {
  tries=0
  while found=$(marked "$marker") && [ -n "$found" ] && [ "$tries" -lt 15 ]; do
    if [ "$tries" = 0 ]; then
      for pid in $found; do
        kill -TERM "$pid" 2>/dev/null
        kill -CONT "$pid" 2>/dev/null
      done
    fi
    tries=$((tries + 1))
    sleep 0.05
  done
}
# Always: nobody knows whether an agent that is gone put it back. In a subshell: that leads no session and cannot get the
# terminal as its own.
restore() {
  (
    printf '@reset@' >"$terminal"
    stty "$modes" <"$terminal"
  ) 2>/dev/null
}
# Start of a group's leader. Told late, the guard may find somebody else under that id: ours is a child of the runner, or,
# where that has just ended, carries the marker.
leader_start() {
  start=$(start_of "$1" | tr ' ' _)
  if [ "$(parent_of "$1")" = "$runner" ] || marked "$marker" | grep -qx "$1"; then echo "$start"; fi
}
group_of() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f3; }
# A group's id belongs to somebody else once its leader and all members are gone. It is ours while its leader is the
# process that was told of; without a leader, while a member carries the marker.
ours() {
  now=$(start_of "$1" | tr ' ' _)
  [ -n "$now" ] && { [ "$now" = "$2" ]; return; }
  [ -d /proc/self ] || return 0
  for pid in $(marked "$marker"); do [ "$(group_of "$pid")" = "$1" ] && return 0; done
  return 1
}
end_all() {
  [ -n "$terminal" ] && ask_marked
  kept=""
  for group in $groups; do
    pgid=\${group%%/*}
    ours "$pgid" "\${group#*/}" || continue
    kept="$kept $pgid"
    kill -s TERM -- "-$pgid" 2>/dev/null
    kill -s CONT -- "-$pgid" 2>/dev/null
  done
  [ -n "$kept" ] && sleep 0.2
  for pgid in $kept; do kill -s KILL -- "-$pgid" 2>/dev/null; done
  sweep "$marker"
  [ -n "$terminal" ] && restore
}
disarm() {
  if [ -n "$watchdog" ]; then
    # USR1, which is not ignored here: TERM would be lost on a watchdog that has not set its trap yet, and the wait
    # would last as long as its sleep.
    kill -USR1 "$watchdog" 2>/dev/null
    wait "$watchdog" 2>/dev/null
    watchdog=""
  fi
}
while IFS= read -r line; do
  verb=\${line%% *}
  value=\${line#* }
  case $verb in
    terminal)
      terminal=\${value%% *}
      modes=\${value#* }
      ;;
    group) groups="$groups $value/$(leader_start "$value")" ;;
    gone)
      kept=""
      for group in $groups; do [ "\${group%%/*}" = "$value" ] || kept="$kept $group"; done
      groups=$kept
      ;;
    sweep)
      case $value in *' '*) sweep "\${value#* }" ;; *) sweep "$marker" ;; esac
      echo "swept \${value%% *} $swept"
      ;;
    deadline)
      disarm
      if [ "$value" != 0 ]; then
        (
          # Taken back: the sleeper must not stay, which is nobody's child then.
          sleeper=""
          trap '[ -n "$sleeper" ] && kill -KILL "$sleeper"; exit 0' USR1
          sleep "$value" &
          sleeper=$!
          wait "$sleeper"
          [ "$(start_of "$runner")" = "$runner_start" ] && kill -KILL "$runner" 2>/dev/null
        ) <&- >/dev/null 2>&1 &
        watchdog=$!
      fi
      ;;
    bye) disarm; exit 0 ;;
  esac
done
disarm
end_all
`.replaceAll("\\$", "$").replace("@reset@", RESET_IN_PLACE.replaceAll("\x1b", "\\033"));
