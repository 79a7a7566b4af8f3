/**
 * Returns the script for bash. It needs nothing but bash: the line is split by the program, since the words of
 * bash end at colons, and what bash replaces ($2) says which part of a candidate it wants.
 */
export function bashScript(names: readonly string[]): string {
  return `# Completion of ${names.join(", ")} for bash. Kept in ~/.bashrc: eval "$(runner completions bash)"
_runner_completions() {
  COMPREPLY=()
  local program=$1 answer value rest
  case $program in
    \\~/*) program=$HOME/\${program#??} ;;
  esac
  type -P -- "$program" > /dev/null || return 0
  answer=$(command -- "$program" __complete bash -- "\${COMP_LINE:0:COMP_POINT}" "$2" 2> /dev/null < /dev/null)
  while IFS=$'\\t' read -r value rest; do
    case $value in
      '') ;;
      :files) compopt -o default 2> /dev/null ;;
      :directories) compopt -o dirnames 2> /dev/null ;;
      *) COMPREPLY+=("$value") ;;
    esac
  done <<< "$answer"
}
complete -F _runner_completions ${names.join(" ")}
`;
}
