"""The completion scripts: small ones, that ask jet itself at every press of the tabulator key."""

BASH = """# Completion of jet for bash; printed by jet completion SHELL.
_jet() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case ${line%%,*} in
            plain) COMPREPLY+=("${line#*,}") ;;
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _JET_COMPLETE=bash_complete "$1" 2>/dev/null)
}
complete -F _jet jet
"""

ZSH = """#compdef jet
# Completion of jet for zsh; printed by jet completion SHELL.
_jet() {
    local -a reply plain described
    local kind value help
    reply=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) _JET_COMPLETE=zsh_complete jet 2>/dev/null)}")
    for kind value help in "${reply[@]}"; do
        case $kind in
            plain) if [[ $help == _ ]]; then plain+=("$value"); else described+=("$value:$help"); fi ;;
            file) _path_files -f ;;
            dir) _path_files -/ ;;
        esac
    done
    (( $#described )) && _describe jet described
    (( $#plain )) && compadd -a plain
}
if [[ $funcstack[1] == _jet ]]; then _jet "$@"; else compdef _jet jet; fi
"""

FISH = """# Completion of jet for fish; printed by jet completion SHELL.
function __jet_complete
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    for line in (_JET_COMPLETE=fish_complete jet 2>/dev/null)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case plain
                echo $parts[2]
            case file
                __fish_complete_path (commandline -t)
            case dir
                __fish_complete_directories (commandline -t)
        end
    end
end
complete -c jet -f -a '(__jet_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
