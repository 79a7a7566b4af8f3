#!/bin/sh
# Turns the action's inputs (variables) into one call of the runner, which takes this process over.
set -eu
umask 077

# Until the runner has written its own outputs; the last value of a name counts.
{
  echo "outcome=error"
  echo "exit-code=2"
} >> "$GITHUB_OUTPUT"

case $AGENT_INPUT_PROVIDER in
  claude | codex | echo) ;;
  *)
    echo "::error::provider is claude, codex or echo"
    exit 2
    ;;
esac

# An input that was not given is empty, and must not take the place of the job's own variable. The agent gets neither.
if [ -n "${AGENT_INPUT_RELAY_TOKEN:-}" ]; then export AGENT_RELAY_TOKEN="$AGENT_INPUT_RELAY_TOKEN"; fi
unset AGENT_INPUT_RELAY_TOKEN

result="$RUNNER_TEMP/agent-result-$$.json"
set -- "$AGENT_INPUT_PROVIDER" --once "--result=$result"

# Joined with "=", so that a value is never taken for a flag.
if [ -n "${AGENT_INPUT_APPROVAL:-}" ]; then set -- "$@" "--approval=$AGENT_INPUT_APPROVAL"; fi
if [ -n "${AGENT_INPUT_WORKING_DIRECTORY:-}" ]; then set -- "$@" "--cwd=$AGENT_INPUT_WORKING_DIRECTORY"; fi
if [ -n "${AGENT_INPUT_MAX_TURNS:-}" ]; then set -- "$@" "--max-turns=$AGENT_INPUT_MAX_TURNS"; fi
if [ -n "${AGENT_INPUT_MAX_TIME:-}" ]; then set -- "$@" "--max-time=$AGENT_INPUT_MAX_TIME"; fi
if [ -n "${AGENT_INPUT_MAX_COST:-}" ]; then set -- "$@" "--max-cost=$AGENT_INPUT_MAX_COST"; fi
if [ -n "${AGENT_INPUT_LABEL:-}" ]; then set -- "$@" "--label=$AGENT_INPUT_LABEL"; fi
if [ -n "${AGENT_INPUT_RELAY_URL:-}" ]; then set -- "$@" "--relay-url=$AGENT_INPUT_RELAY_URL"; fi
if [ -n "${AGENT_INPUT_CONNECT_TIMEOUT:-}" ]; then
  set -- "$@" "--connect-timeout=$AGENT_INPUT_CONNECT_TIMEOUT"
fi
if [ -n "${AGENT_INPUT_CONVERSATION:-}" ]; then set -- "$@" "--conversation=$AGENT_INPUT_CONVERSATION"; fi
if [ -n "${AGENT_INPUT_PROMPT_FILE:-}" ]; then set -- "$@" "--prompt-file=$AGENT_INPUT_PROMPT_FILE"; fi
if [ -n "${AGENT_INPUT_PROMPT:-}" ]; then
  if [ -n "${AGENT_INPUT_PROMPT_FILE:-}" ]; then
    echo "::error::prompt and prompt-file exclude each other"
    exit 2
  fi
  # Not in argv, which every user of the machine can read.
  prompt="$RUNNER_TEMP/agent-prompt-$$.md"
  printf '%s' "$AGENT_INPUT_PROMPT" > "$prompt"
  set -- "$@" "--prompt-file=$prompt"
fi
if [ -n "${AGENT_INPUT_PROVIDER_ARGS:-}" ]; then
  set -- "$@" --
  while IFS= read -r line; do
    if [ -n "$line" ]; then set -- "$@" "$line"; fi
  done << END
$AGENT_INPUT_PROVIDER_ARGS
END
fi

if ! command -v -- "$AGENT_INPUT_COMMAND" > /dev/null; then
  echo "exit-code=5" >> "$GITHUB_OUTPUT"
  echo "::error::the runner program is not on PATH; install it in an earlier step"
  exit 5
fi
exec "$AGENT_INPUT_COMMAND" "$@" < /dev/null
