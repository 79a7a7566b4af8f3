/** Returns the script for zsh: for the end of ~/.zshrc, or as a file named _runner in a directory of fpath. */
export function zshScript(names: readonly string[]): string {
  return `#compdef ${names.join(" ")}
# Completion of ${names.join(", ")} for zsh. Kept at the end of ~/.zshrc: eval "$(runner completions zsh)"
_runner() {
  local program=\${(Q)words[1]} value description
  local -a found
  [[ $program == \\~/* ]] && program=$HOME/\${program#\\~/}
  whence -p -- "$program" > /dev/null || return 1
  while IFS=$'\\t' read -r value description; do
    case $value in
      (:files)
        compset -P '--[a-z-]#='
        _files
        return
        ;;
      (:directories)
        compset -P '--[a-z-]#='
        _files -/
        return
        ;;
      (*) found+=("\${value//:/\\\\:}\${description:+:$description}") ;;
    esac
  done < <(command -- "$program" __complete zsh -- "\${(@Q)words[1,CURRENT-1]}" "\${(Q)PREFIX}" 2> /dev/null < /dev/null)
  (( $#found )) && _describe runner found
}
if [[ $funcstack[1] == _runner ]]; then
  _runner "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
  compdef _runner ${names.join(" ")}
fi
`;
}
