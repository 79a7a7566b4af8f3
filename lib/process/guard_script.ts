/**
 * The guard: a POSIX shell script that outlives the runner by a few seconds and ends what the runner started.
 *
 * Reads one command a line from stdin. At the end of input without `bye` (the runner was killed) it ends all
 * groups and everything that carries the run's marker. Deno may not read /proc under the flags we ship with,
 * so the marker is also searched here on request.
 *
 * Arguments: 1 run id, 2 pid of the runner. Commands: `group PGID`, `gone PGID`, `sweep TOKEN [NAME=VALUE]` (kills
 * what carries the run's marker, or the one given; answers `swept TOKEN COUNT`), `deadline SECONDS` (0 disarms),
 * `bye`.
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
trap '' TERM INT HUP PIPE
start_of() {
  if [ -r "/proc/$1/stat" ]; then sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
  else ps -o lstart= -p "$1" 2>/dev/null; fi
}
runner_start=$(start_of "$runner")
marked() {
  if [ -d /proc/self ]; then
    for pid in $(grep -lzsxF -- "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
      case $(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1) in Z | X | '') ;; *) echo "$pid" ;; esac
    done
  else
    ps -axwwE -o pid=,command= 2>/dev/null | grep -F -- "$1" | grep -vF 'grep -F' | while read -r pid rest; do echo "$pid"; done
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
end_all() {
  for pgid in $groups; do
    kill -TERM -- "-$pgid" 2>/dev/null
    kill -CONT -- "-$pgid" 2>/dev/null
  done
  [ -n "$groups" ] && sleep 0.2
  for pgid in $groups; do kill -KILL -- "-$pgid" 2>/dev/null; done
  sweep "$marker"
}
disarm() {
  if [ -n "$watchdog" ]; then
    kill -KILL "$watchdog" 2>/dev/null
    wait "$watchdog" 2>/dev/null
    watchdog=""
  fi
}
while IFS= read -r line; do
  verb=\${line%% *}
  value=\${line#* }
  case $verb in
    group) groups="$groups $value" ;;
    gone)
      kept=""
      for pgid in $groups; do [ "$pgid" = "$value" ] || kept="$kept $pgid"; done
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
          trap - TERM
          sleep "$value"
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
`.replaceAll("\\$", "$");
