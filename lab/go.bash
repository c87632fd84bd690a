# For the install scripts of the parts that are Go modules: build once, keep the result by the hash of what made it.
#
#   go_part <folder of the part> <tags, or nothing> <linker's -X settings, or nothing> <program>=<package>...
#
# prints the folder with the programs; all else goes to stderr. The folder is in the user's cache, so that every checkout with
# the same pins shares it; COFIDE_CACHE names another place. A part that needs a C compiler says CGO_ENABLED=1.

go_part() {
    local here=$1 tags=$2 settings=$3 part cache pins program package targets=("${@:4}")
    part=lab/$(basename "$here")
    cache=${COFIDE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cofide-lab}/$(basename "$here")
    pins=$(cd "$here" && find . -name '*.go' -print0 | sort -z | xargs -0 cat go.mod go.sum install | sha256sum | cut -c1-16)
    local folder=$cache/$pins
    mkdir -p "$folder"

    # One build at a time, also among tests that all find the part missing.
    exec 9>"$cache/lock"
    if ! flock --nonblock 9; then
        echo "$part: waiting for another build of it" >&2
        flock 9
    fi
    for target in "${targets[@]}"; do
        program=${target%%=*} package=${target#*=}
        [ -x "$folder/$program" ] && continue
        command -v go >/dev/null || {
            echo "$part: go is not installed; it is needed once, to build $program. Install Go 1.26 or newer" >&2
            return 1
        }
        echo "$part: building $program (minutes, once)" >&2
        SECONDS=0
        (cd "$here" && CGO_ENABLED=${CGO_ENABLED:-0} go build -v -trimpath -tags "$tags" -ldflags "-s -w $settings" -o "$folder/$program.new" "$package" 2>&1) |
            go_progress "$part" || return 1
        mv "$folder/$program.new" "$folder/$program" || return 1
        echo "$part: built $program in $SECONDS s" >&2
    done
    exec 9>&-
    echo "$folder"
}

# Go says which package it compiles: that many lines are shown as one, now and then. What else it says is shown.
go_progress() {
    local line compiled=0 next=10
    while read -r line; do
        case $line in
            *' '*) echo "$line" >&2 ;;
            *) compiled=$((compiled + 1)) ;;
        esac
        if [ $SECONDS -ge $next ]; then
            echo "$1: $compiled packages after $SECONDS s" >&2
            next=$((SECONDS + 15))
        fi
    done
}
