# Sourced: packages of other Debian releases than the machine's. The machine's own package sources stay as they are.

# debian_lists FOLDER SUITE...: sets `apt`, the options with which apt-get and apt-cache see these suites and nothing else.
# Lists, cache and state are in FOLDER, the lists at most a day old; the mirror is the machine's, the keys are Debian's.
debian_lists() {
    local folder=$1 key=/usr/share/keyrings/debian-archive-keyring.gpg mirror suite
    shift
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" && touch "$folder/status" || return
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | sort -u | head -1)
    mirror=${mirror:-http://deb.debian.org/debian}
    for suite in "$@"; do
        case $suite in
            *-security) echo "deb [signed-by=$key] ${mirror%/}-security $suite main" ;;
            *) echo "deb [signed-by=$key] $mirror $suite main" ;;
        esac
    done >"$folder/sources.list"
    apt=(
        -qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$folder/lists" -o "Dir::State::status=$folder/status" -o "Dir::Cache=$folder/cache"
        -o Acquire::Languages=none
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    )
    if [ -z "$(find "$folder/stamp" -mtime -1 2>/dev/null)" ]; then
        { apt-get "${apt[@]}" update >&2 && touch "$folder/stamp"; } || { echo "cannot read the package lists of $mirror" >&2; return 1; }
    fi
}
