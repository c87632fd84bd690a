# What demo/run is made of: zones, workloads, calls, waiting for conditions, saying what happens.

checks=0
begun=$EPOCHREALTIME

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain_text=$'\e[0m'
else
    bold='' green='' red='' dim='' plain_text=''
fi

elapsed() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain_text"; }
note() { printf '%s   %s%s\n' "$dim" "$*" "$plain_text"; }
ok() { checks=$((checks + 1)); printf '%sok %s - %s%s\n' "$green" "$1" "$2" "$plain_text"; }

fail() {
    printf '%snot ok - %s%s\n' "$red" "$*" "$plain_text" >&2
    for log in "$work"/logs/*.log; do
        [ -e "$log" ] || continue
        printf '%s-- the end of %s%s\n' "$dim" "$(basename "$log")" "$plain_text" >&2
        tail -n 8 "$log" >&2
    done
    for status in "$work"/zone-*/manifests/*.status.yaml; do
        [ -e "$status" ] && { printf -- '-- %s\n' "$status" >&2; cat "$status" >&2; }
    done
    exit 1
}

need_programs() {
    local program
    for program in cofide-connect cofide-agent cofidectl trust-zone-server ping-pong-server ping-pong-client; do
        [ -x "$bin/$program" ] || fail "$bin/$program is missing; run: make build"
    done
    for program in ${spire:+spire-server spire-agent}; do
        [ -x "$spire/$program" ] || fail "$spire/$program is missing; run: make demo SPIRE=1"
    done
    [ -x "$envoy" ] || fail "Envoy is missing at $envoy; run: make envoy"
    # Workloads are told apart by the path of their program, so those that get an identity have one in the demo's folder.
    for program in "$bin/cofide-agent" "$bin/ping-pong-server" "$bin/ping-pong-client" "$envoy"; do
        ln "$program" "$work/bin/" 2>/dev/null || cp "$program" "$work/bin/"
    done
    cd "$work"
}

# await WHAT SECONDS COMMAND...: until the command succeeds; the demo ends if it does not in time.
await() {
    local what=$1 seconds=$2 deadline
    shift 2
    deadline=$(awk -v now="$EPOCHREALTIME" -v seconds="$seconds" 'BEGIN { printf "%.6f", now + seconds }')
    until "$@"; do
        for name in "${!pids[@]}"; do
            case $name in connect | trust-zone-server-* | spire-* | agent-* | envoy-*) gone "$name" && fail "$name ended while waiting for: $what" ;; esac
        done
        awk -v now="$EPOCHREALTIME" -v deadline="$deadline" 'BEGIN { exit !(now > deadline) }' && fail "not within $seconds s: $what"
        sleep 0.1
    done
    note "$what"
}

quietly() { "$@" >/dev/null 2>&1; }

# ctl ARGUMENTS...: a cofidectl command, shown with its output.
ctl() {
    printf '%s$ cofidectl %s%s\n' "$bold" "$*" "$plain_text"
    "$bin/cofidectl" "$@" || fail "cofidectl $*"
}

workload_api() { echo "unix:$work/zone-$1/workload-api.sock"; }

# trust_zone LETTER ADDRESS: the zone in Connect, its SPIFFE server, its agent.
trust_zone() {
    local zone=$1 address=$2 folder=$work/zone-$1
    mkdir -p "$folder/manifests"
    ctl trust-zone add "trust-zone-$zone" --trust-domain "$zone.demo.test" --bundle-endpoint-url "https://$address:8443"
    ctl cluster add "cluster-$zone" --trust-zone "trust-zone-$zone" --profile host
    ctl agent join-token create --trust-zone "trust-zone-$zone" --cluster "cluster-$zone" --output-file "zone-$zone/bootstrap.yaml"
    if [ -n "$spire" ]; then spire_in "$zone" "$address"; else trust_zone_server_in "$zone" "$address"; fi
    start_agent "$zone" "$address"
    await "agent of trust-zone-$zone is ready" 20 agent_ready "$address"
}

# trust_zone_server_in LETTER ADDRESS: the embedded SPIFFE server of the zone, which knows the zone's agent.
trust_zone_server_in() {
    local zone=$1 address=$2 folder=$work/zone-$1
    cat >"$folder/trust-zone-server.yaml" <<YAML
trust_domain: $zone.demo.test
data_dir: $folder/trust-zone-server
workload_api_socket: $folder/workload-api.sock
admin_socket: $folder/admin.sock
bundle_endpoint: { address: "$address:8443" }
entries:
  - spiffe_id_path: /cluster/cluster-$zone/ns/cofide/sa/cofide-agent
    selectors: ["unix:path:$work/bin/cofide-agent"]
YAML
    start "trust-zone-server-$zone" "$bin/trust-zone-server" run --config "$folder/trust-zone-server.yaml"
}

start_agent() {
    local zone=$1 address=$2 folder=$work/zone-$1
    start "agent-$zone" "$work/bin/cofide-agent" run --bootstrap-file "$folder/bootstrap.yaml" --data-dir "$folder/agent" \
        --manifest-dir "$folder/manifests" --spiffe-endpoint-socket "unix://$folder/workload-api.sock" \
        --spire-server-socket "$folder/admin.sock" --xds-address "$address:18001" --dns-address "$address:10053" \
        --gateway-listen-address "$address:15443" --import-addresses "127.1${address##*.}.0.0/16" --admin-address "$address:9902"
}

agent_ready() {
    exec 3<>"/dev/tcp/$1/9902" || return 1
    printf 'GET /healthz/ready HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n' >&3
    local status
    read -r status <&3
    exec 3>&-
    [[ $status == *" 200 "* ]]
} 2>/dev/null

# envoy_in LETTER ROLE: an Envoy that takes everything from the zone's agent.
envoy_in() {
    local zone=$1 role=$2 address=zone_$1
    "$bin/cofide-agent" envoy-bootstrap --role "$role" --xds-address "${!address}:18001" \
        --workload-api-socket "$work/zone-$zone/workload-api.sock" --admin-address "${!address}:9901" >"$work/zone-$zone/envoy.yaml"
    start "envoy-$zone" "$work/bin/envoy" --config-path "$work/zone-$zone/envoy.yaml" --use-dynamic-base-id --log-level warning \
        --drain-time-s 2 --drain-strategy immediate --file-flush-interval-msec 200 --concurrency 1
}

federations_healthy() { [ "$("$bin/cofidectl" federation list 2>/dev/null | grep -c ' Healthy ')" = "$1" ]; }
imported() { [ "$("$bin/cofidectl" federated-service list --output json 2>/dev/null | grep -c '"hostname"')" = "$1" ]; }

# workload LETTER NAME PATH PROGRAM [FLAGS...]: an identity for a program of the demo's folder, and the binding that gives it.
workload() {
    local zone=$1 name=$2 path=$3 program=$4
    shift 4
    ctl attestation-policy add static --name "$name" --spiffe-id-path "$path" --parent-id-path "$parent" --selectors "unix:path:$work/bin/$program"
    ctl attestation-policy-binding add --trust-zone "trust-zone-$zone" --attestation-policy "$name" "$@"
}

export_service() {
    note "copying $1.yaml to the manifest folder of zone A"
    cp "$root/examples/manifests/$1.yaml" "$work/zone-a/manifests/"
}

# export_another NAME PORT: the plain-text service once more, under another name, its workload on another port.
export_another() {
    note "writing ping-pong-$1.yaml to the manifest folder of zone A: ping-pong-plain.yaml as $1, on port $2"
    # Moved there in one piece, so that the agent never reads a half.
    sed -e "s/ping-pong-plain/ping-pong-$1/; s/name: plain\$/name: $1/; s/tcp: 9080/tcp: $2/" \
        "$root/examples/manifests/ping-pong-plain.yaml" >"$work/ping-pong-$1.yaml"
    mv "$work/ping-pong-$1.yaml" "$work/zone-a/manifests/"
}

# run_client MODE ARGUMENTS...: one ping from zone B.
run_client() {
    local mode=$1
    shift
    if [ "$mode" = mtls ]; then set -- --expect a.demo.test --workload-api "$(workload_api b)" "$@"; fi
    "$work/bin/ping-pong-client" --mode "$mode" "$@"
}

call() {
    local mode=$1 where=$2
    shift 2
    run_client "$mode" --connect "$where" --dns-server "$zone_b:10053" "$@"
}

refused() { ! quietly call "$1" "$2" --expect-greeting --timeout 2000; }

# expect_pong LABEL TEXT COMMAND...: shows what the command prints and demands the text in it.
expect_pong() {
    local label=$1 text=$2 output
    shift 2
    output=$("$@" 2>&1) || fail "$label $output"
    printf '   %s %s\n' "$label" "$output"
    [[ $output == *"$text"* ]] || fail "$label expected: $text"
}

# The plain-text client saw no certificate; the Envoy that spoke for it did, and pinned it.
show_peer_seen_by_envoy() {
    await "Envoy of zone B logged the server's SPIFFE ID" 5 log_has envoy-b 'server_id=spiffe://a.demo.test/ns/cofide/sa/gateway'
    printf '   %s\n' "$(grep -- 'server_id=spiffe://a.demo.test/ns/cofide/sa/gateway' "$work/logs/envoy-b.log" | tail -n 1)"
}

show_addresses() {
    local name
    for name in ${server%:*} ${second%:*}; do
        printf '   %s\n' "$("$work/bin/ping-pong-client" --mode plain --connect "$name:8443" --dns-server "$zone_b:10053" --resolve)"
    done
}

# How many X.509 authorities zone B holds for a domain.
authorities_held() { "$bin/trust-zone-server" bundle show --socket "$work/zone-$1/admin.sock" --trust-domain "$2" --format pem | grep -c BEGIN; }
holds_authorities() { [ "$(authorities_held "$1" "$2")" = "$3" ]; }

rotate_authority() {
    authority "$1" prepare
    await "zone B holds both authorities of zone A, pushed through Connect" 15 holds_authorities b "$1.demo.test" 2
    authority "$1" activate
    await "calls go on under the new authority" 10 answered_more traffic-mtls 50
    authority "$1" retire
    await "zone B holds the new authority alone" 15 holds_authorities b "$1.demo.test" 1
    await "calls go on" 10 answered_more traffic-mtls 100
}

# authority LETTER STEP: one step of a rotation by hand: prepare, activate, retire.
authority() {
    if [ -n "$spire" ]; then
        spire_authority "$@"
        return
    fi
    local socket=$work/zone-$1/admin.sock
    printf '%s$ trust-zone-server authority %s%s\n' "$bold" "$2" "$plain_text"
    "$bin/trust-zone-server" authority "$2" --socket "$socket"
    if [ "$2" = activate ]; then "$bin/trust-zone-server" authority show --socket "$socket"; fi
}

# answered_more NAME COUNT: whether at least this many pings have been answered by now.
answered_more() { [ "$(grep -c '"result":"pong"' "$work/logs/$1.log")" -ge "$2" ]; }

log_has() { grep -q -- "$2" "$work/logs/$1.log"; }
show_last() { printf '   %s\n' "$(tail -n 1 "$work/logs/$1.log")"; }

no_failures() {
    local name summary again
    for name in "$@"; do
        summary=$(tail -n 1 "$work/logs/$name.log")
        note "$name: $summary"
        # The client asks once more where a connection is refused, as it is in the instant in which a library takes over a new SVID.
        again=$(grep -c '"attempts":2' "$work/logs/$name.log" || true)
        [ "$again" = 0 ] || note "$name: $again of these were answered at the second attempt"
        [[ $summary == *'"result":"summary"'*'"failed":0'* ]] || { grep '"failed"' "$work/logs/$name.log" | head -n 5 >&2; fail "$name had failures"; }
    done
}

summary() {
    say "Done: $checks of 7 checks in $(elapsed "$begun") s"
}

keep_running() {
    is_kept=1
    say "Everything goes on running. To stop it all and remove its folder: Ctrl-C here, or anywhere: kill $$"
    cat <<TEXT
   In another terminal, first:
     export COFIDE_CREDENTIALS=$COFIDE_CREDENTIALS PATH=$bin:\$PATH
     call() { $work/bin/ping-pong-client --mode mtls --connect $server --dns-server $zone_b:10053 --expect a.demo.test --workload-api $(workload_api b); }

   Look:
     call
     cofidectl federation list
     cofidectl federated-service list
     cofidectl audit list
     dig -p 10053 @$zone_b ${server%:*}           # or another tool for DNS
     curl http://$zone_b:9901/clusters            # what the client Envoy knows
     ls $work/zone-a/manifests $work/logs

   Break it, call, mend it, call again:
     cofidectl attestation-policy-binding update --trust-zone trust-zone-b --attestation-policy ping-pong-client --clear-federations
     cofidectl attestation-policy-binding update --trust-zone trust-zone-b --attestation-policy ping-pong-client --federates-with trust-zone-a

     rm $work/zone-a/manifests/ping-pong.yaml
     cp $root/examples/manifests/ping-pong.yaml $work/zone-a/manifests/
TEXT
    while sleep 1; do :; done
}
