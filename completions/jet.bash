# Completion of jet for bash; printed by jet completion SHELL.
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
