//! Which workloads stand behind a service, and on which port.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::Port;
use cofide_k8s_api::{ServiceSpec, Workload};

use crate::desired::Backend;

/// The places where the workloads of a service listen: the WorkloadEntries of its namespace that carry all its labels.
/// Beside them, what speaks against the ones that cannot be used.
pub(super) fn backends(spec: &ServiceSpec, workloads: &[Workload]) -> (BTreeSet<Backend>, Vec<String>) {
    let mut backends = BTreeSet::new();
    let mut unusable = Vec::new();
    for workload in workloads.iter().filter(|workload| workload.namespace == spec.name.namespace.as_str()) {
        if !spec.workload_labels.iter().all(|(name, value)| workload.labels.get(name) == Some(value)) {
            continue;
        }
        match port(spec.port, &workload.ports) {
            Ok(port) => {
                backends.insert(Backend { address: workload.address.clone(), port });
            }
            Err(reason) => unusable.push(format!("WorkloadEntry {}/{}: {reason}", workload.namespace, workload.name)),
        }
    }
    (backends, unusable)
}

/// The port of a workload that serves `service_port`:
///
/// 1. no `ports`: the service's port itself, as Istio takes the target port
/// 2. exactly one: that one, whatever its name
/// 3. several: the one named `<port>`, `port-<port>`, `tcp-<port>`, `tls-<port>`, `http-<port>`, `https-<port>` or
///    `grpc-<port>`; else the one whose number is the service's port
/// 4. several of which none fits: none, for guessing would send traffic to another application
fn port(service_port: Port, ports: &BTreeMap<String, Port>) -> Result<Port, String> {
    let mut numbers = ports.values();
    match (numbers.next(), numbers.next()) {
        (None, _) => return Ok(service_port),
        (Some(only), None) => return Ok(*only),
        _ => {}
    }
    let named =
        ["", "port-", "tcp-", "tls-", "http-", "https-", "grpc-"].iter().find_map(|prefix| ports.get(&format!("{prefix}{service_port}")));
    named.or_else(|| ports.values().find(|port| **port == service_port)).copied().ok_or_else(|| {
        let names: Vec<_> = ports.iter().map(|(name, port)| format!("{name}: {port}")).collect();
        format!("none of its ports ({}) is for {service_port}; name the one that is port-{service_port}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ports of a workload by name.
    type Ports = &'static [(&'static str, i64)];

    #[test]
    fn a_port_is_found_or_nothing_is_guessed() {
        let cases: [(Ports, Option<u16>); 9] = [
            (&[], Some(8443)),
            (&[("http", 9000)], Some(9000)),
            (&[("8443", 9001), ("other", 9002)], Some(9001)),
            (&[("port-8443", 9001), ("other", 9002)], Some(9001)),
            (&[("tls-8443", 9001), ("other", 8443)], Some(9001)),
            (&[("https-8443", 9003), ("http-8080", 9004)], Some(9003)),
            (&[("secure", 8443), ("other", 9002)], Some(8443)),
            (&[("8443", 1), ("port-8443", 2)], Some(1)),
            (&[("one", 9001), ("two", 9002)], None),
        ];
        for (ports, expected) in cases {
            let ports = ports.iter().map(|(name, port)| ((*name).to_owned(), Port::try_from(*port).unwrap())).collect();
            let found = port(Port::try_from(8443).unwrap(), &ports);
            assert_eq!(found.as_ref().ok().map(|port| port.get()), expected, "{ports:?}: {found:?}");
        }
    }
}
