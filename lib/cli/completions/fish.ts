/** Returns the script for fish. */
export function fishScript(names: readonly string[]): string {
  return `# Completion of ${names.join(", ")} for fish. Kept in config.fish: runner completions fish | source
function __runner_completions
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    command -q -- $program; or return
    for line in (command $program __complete fish -- $words "$current" 2>/dev/null </dev/null)
        switch $line
            case :files
                __runner_paths __fish_complete_path "$current"
            case :directories
                __runner_paths __fish_complete_directories "$current"
            case '*'
                printf '%s\\n' $line
        end
    end
end
function __runner_paths
    set -l flag (string match -r '^--[a-z-]+=' -- $argv[2])
    for path in ($argv[1] (string replace -r '^--[a-z-]+=' '' -- $argv[2]))
        printf '%s%s\\n' "$flag" $path
    end
end
${names.map((name) => `complete -c ${name} -f -a '(__runner_completions)'`).join("\n")}
`;
}
