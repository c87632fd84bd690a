# The demo's folder and what runs out of it: made, recorded, and taken away again however the demo ends.

declare -A pids=()

# The moment at which a process began, which tells it from a later one with the same id. Nothing if there is none.
began_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# is_still PID MOMENT: whether that process is there and has not ended.
is_still() { [ -n "$2" ] && [ "$(began_at "$1")" = "$2" ] && [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c 1)" != Z ]; }

make_folder() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/cofide-demo.XXXXXX")
    trap end_demo EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    trap 'exit 131' QUIT
    # A reader that goes away, as in `make demo | head`.
    trap 'exit 141' PIPE
    echo "$$ $(began_at $$)" >"$work/demo.pid"
    mkdir -p "$work/logs" "$work/bin"
}

# A demo that was killed could not clean up, so the next one does. Only processes that it recorded are ended, each by its
# id and the moment at which it began.
clean_up_after_earlier_demos() {
    local folder pid moment
    for folder in "${TMPDIR:-/tmp}"/cofide-demo.*/; do
        folder=${folder%/}
        [ -O "$folder" ] && [ "$folder" != "$work" ] || continue
        pid='' moment=''
        # A folder without the file is not known to be a demo's.
        { read -r pid moment <"$folder/demo.pid"; } 2>/dev/null || continue
        if is_still "$pid" "$moment"; then
            fail "another demo is running out of $folder and needs the same addresses; stop it first: kill $pid"
        elif [ -e "$folder/failed" ]; then
            note "an earlier demo failed; its logs are in $folder (rm -r $folder)"
        else
            note "an earlier demo was killed; ending what it left running and removing $folder"
            end_recorded "$folder"
            rm -rf "$folder"
        fi
    done
}

# end_recorded FOLDER: ends the programs of a folder whose demo is gone.
end_recorded() {
    local pid moment name signal
    [ -e "$1/programs" ] || return 0
    for signal in TERM KILL; do
        while read -r pid moment name; do
            is_still "$pid" "$moment" && kill "-$signal" "$pid" 2>/dev/null
        done <"$1/programs" || true
        for _ in $(seq 60); do
            local left=0
            while read -r pid moment name; do is_still "$pid" "$moment" && left=1; done <"$1/programs" || true
            [ $left = 0 ] && return 0
            sleep 0.05
        done
    done
}

# need_free ADDRESS:PORT...: nobody else listens there.
need_free() {
    local place listener owner
    for place in "$@"; do
        (exec 3<>"/dev/tcp/${place%:*}/${place##*:}") 2>/dev/null || continue
        # Who listens at another address with the same port is in nobody's way.
        listener="src $place or src 0.0.0.0:${place##*:} or src [::]:${place##*:}"
        owner=$(ss -Hltnp "( $listener )" 2>/dev/null | grep -o 'users:.*' | head -n 1) || true
        fail "$place is taken by another program ${owner:+($owner)}; the demo needs it. Find it with: ss -ltnp '( $listener )'"
    done
}

# start NAME COMMAND...: runs it in the background, its output in the log of that name.
start() {
    local name=$1
    shift
    "$@" >"$work/logs/$name.log" 2>&1 </dev/null &
    pids[$name]=$!
    echo "$! $(began_at $!) $name" >>"$work/programs"
}

gone() { ! kill -0 "${pids[$1]}" 2>/dev/null; }

stop() {
    local name=$1
    kill -TERM "${pids[$name]}" 2>/dev/null || true
    for _ in $(seq 100); do
        gone "$name" && break
        sleep 0.05
    done
    gone "$name" || { note "$name did not stop within 5 s and is killed"; kill -KILL "${pids[$name]}"; }
    wait "${pids[$name]}" 2>/dev/null || true
    unset "pids[$name]"
}

# The folder stays only where something failed, for its logs.
end_demo() {
    local status=$? name
    trap - EXIT
    # Whoever presses Ctrl-C twice still gets everything stopped; this takes three seconds at most.
    trap '' INT TERM HUP QUIT PIPE
    for name in "${!pids[@]}"; do kill -TERM "${pids[$name]}" 2>/dev/null || true; done
    for _ in $(seq 60); do
        local left=0
        for name in "${!pids[@]}"; do gone "$name" || left=1; done
        [ $left = 0 ] && break
        sleep 0.05
    done
    for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ $status = 0 ] || [ $status -gt 128 ] || ! ls "$work"/logs/*.log >/dev/null 2>&1; then
        rm -rf "$work"
    else
        touch "$work/failed"
        echo "what happened is kept in $work" >&2
    fi
    [ $status -le 128 ] || echo "demo: everything that it started has ended, and its folder is removed" >&2
    # In keep_running an interruption is how it is meant to end.
    [ -z "${is_kept:-}" ] || status=0
    exit $status
}
