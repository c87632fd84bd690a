# SPIRE in the place of the trust-zone-servers: what `make demo SPIRE=1` adds.

# spire_in LETTER ADDRESS: a SPIRE server and a SPIRE agent for the zone, as whoever runs SPIRE would set them up, and in
# the server the one entry that is not made by cofide-agent: its own.
spire_in() {
    local zone=$1 address=$2 folder=$work/zone-$1 token
    mkdir -p "$folder/spire-server" "$folder/spire-agent"
    cat >"$folder/spire-server.conf" <<HCL
server {
    bind_address = "$address"
    bind_port = "8081"
    socket_path = "$folder/admin.sock"
    trust_domain = "$zone.demo.test"
    data_dir = "$folder/spire-server"
    # It says then when its own certificate is renewed.
    log_level = "DEBUG"
    # So short that a rotation of the authority can be watched: SPIRE's agents renew at half of it.
    default_x509_svid_ttl = "30s"
    federation {
        bundle_endpoint {
            address = "$address"
            port = 8443
            profile "https_spiffe" {}
        }
    }
}
plugins {
    DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "$folder/spire-server/datastore.sqlite3" } }
    KeyManager "disk" { plugin_data { keys_path = "$folder/spire-server/keys.json" } }
    NodeAttestor "join_token" { plugin_data {} }
}
HCL
    start "spire-server-$zone" "$spire/spire-server" run -config "$folder/spire-server.conf"
    await "the SPIRE server of trust-zone-$zone answers" 20 quietly spire_server "$zone" healthcheck
    spire_server "$zone" bundle show >"$folder/bundle.pem"
    token=$(spire_server "$zone" token generate -spiffeID "spiffe://$zone.demo.test/host" | sed -n 's/^Token: //p')
    cat >"$folder/spire-agent.conf" <<HCL
agent {
    data_dir = "$folder/spire-agent"
    server_address = "$address"
    server_port = "8081"
    socket_path = "$folder/workload-api.sock"
    trust_domain = "$zone.demo.test"
    trust_bundle_path = "$folder/bundle.pem"
    join_token = "$token"
    # The names that Envoys of cofide-agent ask for.
    sds {
        default_svid_name = "default"
        default_bundle_name = "ROOTCA"
        default_all_bundles_name = "ALL"
    }
}
plugins {
    KeyManager "memory" { plugin_data {} }
    NodeAttestor "join_token" { plugin_data {} }
    WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
HCL
    start "spire-agent-$zone" "$spire/spire-agent" run -config "$folder/spire-agent.conf"
    shown spire_server "$zone" entry create -spiffeID "spiffe://$zone.demo.test/cluster/cluster-$zone/ns/cofide/sa/cofide-agent" \
        -parentID "spiffe://$zone.demo.test/host" -selector "unix:path:$work/bin/cofide-agent"
}

# spire_server LETTER COMMAND...: a command of the zone's SPIRE server.
spire_server() {
    local zone=$1
    shift
    "$spire/spire-server" "$@" -socketPath "$work/zone-$zone/admin.sock"
}

# shown spire_server LETTER COMMAND...: the same, shown; its output where it fails.
shown() {
    local output
    printf '%s$ spire-server %s%s\n' "$bold" "${*:3}" "$plain_text"
    output=$("$@" 2>&1) || fail "$output"
}

# The id of an authority of a zone: active, prepared or old.
authority_id() {
    spire_server "$1" localauthority x509 show -output json | sed -n "s/.*\"$2\":{\"authority_id\":\"\([^\"]*\)\".*/\1/p"
}

# log_end server|agent LETTER: how far that log goes.
log_end() { wc -l <"$work/logs/spire-$1-$2.log"; }

# SPIFFE IDs of the SVIDs that a SPIRE agent has asked for, from its log.
asked_for() { sed -n 's/.*"\(Creating\|Renewing\) X509-SVID".*spiffe_id="\([^"]*\)".*/\2/p' | sort -u; }

# has_renewed LETTER LINE: whether the SPIRE agent has renewed all its SVIDs since that line of its log.
has_renewed() {
    local log=$work/logs/spire-agent-$1.log
    [ -z "$(comm -23 <(asked_for <"$log") <(tail -n "+$(($2 + 1))" "$log" | asked_for))" ]
}

# has_own LETTER LINE: whether the SPIRE agent has a new SVID of its own since that line of its log.
has_own() { tail -n "+$(($2 + 1))" "$work/logs/spire-agent-$1.log" | grep -q 'Successfully rotated agent SVID'; }

# server_has_own LETTER LINE: the same of the SPIRE server, which signs its own.
server_has_own() { tail -n "+$(($2 + 1))" "$work/logs/spire-server-$1.log" | grep -q 'Rotating server SVID'; }

# The steps of a rotation by hand; see rotate_authority.
spire_authority() {
    local zone=$1 since since_server old
    case $2 in
        prepare) shown spire_server "$zone" localauthority x509 prepare ;;
        activate)
            shown spire_server "$zone" localauthority x509 activate -authorityID "$(authority_id "$zone" prepared)"
            since=$(log_end agent "$zone")
            await "the SPIRE agent has renewed what the old authority had signed" 45 has_renewed "$zone" "$since"
            ;;
        retire)
            # Only a tainted authority can be revoked. Not earlier: what it has signed is taken from workloads at once.
            old=$(authority_id "$zone" old)
            since=$(log_end agent "$zone")
            since_server=$(log_end server "$zone")
            shown spire_server "$zone" localauthority x509 taint -authorityID "$old"
            await "the SPIRE agent itself has a new certificate" 30 has_own "$zone" "$since"
            await "the SPIRE server itself has a new certificate" 30 server_has_own "$zone" "$since_server"
            shown spire_server "$zone" localauthority x509 revoke -authorityID "$old"
            ;;
    esac
}
