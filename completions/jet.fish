# Completion of jet for fish; printed by jet completion SHELL.
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
