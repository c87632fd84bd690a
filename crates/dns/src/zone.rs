//! The imported names, and what they make true about other names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

use cofide_core::Hostname;
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

/// Seconds for which a client may keep the address of an imported name. Whoever gives the address to another name must
/// wait for that long first.
pub const ADDRESS_TTL: u32 = 5;

/// Seconds for which a client may keep "no such type" of an imported name, whose types never change.
const NO_DATA_TTL: u32 = 5;

/// Hostnames with their addresses, indexed for lookup by any name.
#[derive(Debug, Default)]
pub struct Zone {
    addresses: HashMap<LowerName, Ipv4Addr>,
    /// Every name above an imported one, without the root.
    ancestors: HashSet<LowerName>,
    serial: u32,
}

/// What the zone says about a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Records(Vec<Record>),
    /// The name exists and has no records of this type.
    NoData(Box<Record>),
    NoSuchName(Box<Record>),
    /// Not the zone's to answer. `exists`: an imported name lies below, so "no such name" would deny that one as well.
    Forward {
        exists: bool,
    },
}

impl Zone {
    pub fn new(addresses: &BTreeMap<Hostname, Ipv4Addr>) -> Self {
        Self::with_serial(addresses, 1)
    }

    fn with_serial(addresses: &BTreeMap<Hostname, Ipv4Addr>, serial: u32) -> Self {
        let addresses: HashMap<LowerName, Ipv4Addr> =
            addresses.iter().filter_map(|(hostname, address)| Some((name(hostname)?, *address))).collect();
        let mut ancestors = HashSet::new();
        for imported in addresses.keys() {
            let mut above = imported.base_name();
            while !above.is_root() && ancestors.insert(above.clone()) {
                above = above.base_name();
            }
        }
        Self { addresses, ancestors, serial }
    }

    /// An imported name is the apex of a zone of its own:
    ///
    /// - A is its address; SOA is its own; every other type is NODATA, AAAA above all: "no such name" would end the lookup
    ///   of a client that asks for both families at once.
    /// - What lies below it does not exist (RFC 8020), unless it was imported itself or leads to an imported name.
    /// - What lies above it exists, even where the upstream says otherwise: a resolver that follows RFC 8020 takes "no such
    ///   name" for an ancestor as an answer for everything below.
    pub(crate) fn decide(&self, question: &LowerName, kind: RecordType) -> Decision {
        if let Some(address) = self.addresses.get(question) {
            return match kind {
                RecordType::A | RecordType::ANY => {
                    let data = RData::A(A::from(*address));
                    Decision::Records(vec![Record::from_rdata(question.into(), ADDRESS_TTL, data)])
                }
                RecordType::SOA => Decision::Records(vec![self.soa(question)]),
                _ => Decision::NoData(Box::new(self.soa(question))),
            };
        }
        let exists = self.ancestors.contains(question);
        let mut above = question.base_name();
        while !above.is_root() {
            if self.addresses.contains_key(&above) {
                let soa = Box::new(self.soa(&above));
                return if exists { Decision::NoData(soa) } else { Decision::NoSuchName(soa) };
            }
            above = above.base_name();
        }
        Decision::Forward { exists }
    }

    /// RFC 2308, section 5: the minimum and the TTL say how long the negative answer holds.
    fn soa(&self, apex: &LowerName) -> Record {
        // No name that could be longer than the apex, which may have the full length already; "." for the mailbox says
        // that there is none (as in RFC 7505).
        let data = SOA::new(apex.into(), Name::root(), self.serial, 3600, 600, 86400, NO_DATA_TTL);
        Record::from_rdata(apex.into(), NO_DATA_TTL, RData::SOA(data))
    }
}

fn name(hostname: &Hostname) -> Option<LowerName> {
    // A hostname is always a DNS name; one that is not could not be asked for either.
    let mut name = Name::from_ascii(hostname.as_str()).ok()?;
    name.set_fqdn(true);
    Some(LowerName::from(name))
}

/// A zone, and what it was made of: by that, an equal one is recognised.
type Served = (Arc<Zone>, BTreeMap<Hostname, Ipv4Addr>);

/// The zone that is served now. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ZoneHandle(Arc<RwLock<Served>>);

impl ZoneHandle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves exactly these names from the next query on. Answers whether that is a change.
    pub fn set(&self, addresses: BTreeMap<Hostname, Ipv4Addr>) -> bool {
        let serial = {
            let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if held.1 == addresses {
                return false;
            }
            held.0.serial.wrapping_add(1)
        };
        // Indexed outside of the lock, so that no query waits for it.
        let zone = Arc::new(Zone::with_serial(&addresses, serial));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (zone, addresses);
        true
    }

    pub fn current(&self) -> Arc<Zone> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(names: &[&str]) -> Zone {
        Zone::new(&names.iter().zip(1..).map(|(name, last)| (name.parse().unwrap(), Ipv4Addr::new(127, 0, 5, last))).collect())
    }

    fn lower(name: &str) -> LowerName {
        LowerName::from(Name::from_ascii(name).unwrap())
    }

    /// The decision in a word.
    fn decide(zone: &Zone, name: &str, kind: RecordType) -> String {
        match zone.decide(&lower(name), kind) {
            Decision::Records(records) => format!("{} {}", records[0].record_type(), records[0].data),
            Decision::NoData(soa) => format!("no data, says {}", soa.name),
            Decision::NoSuchName(soa) => format!("no such name, says {}", soa.name),
            Decision::Forward { exists: true } => "forward, but it exists".into(),
            Decision::Forward { exists: false } => "forward".into(),
        }
    }

    #[test]
    fn an_imported_name_has_an_address_and_no_other_data() {
        let zone = zone(&["server.demo.a.test", "other.demo.a.test"]);
        for spelling in ["server.demo.a.test.", "SERVER.demo.A.test."] {
            assert_eq!(decide(&zone, spelling, RecordType::A), "A 127.0.5.1");
        }
        assert_eq!(decide(&zone, "other.demo.a.test.", RecordType::A), "A 127.0.5.2");
        assert_eq!(decide(&zone, "server.demo.a.test.", RecordType::ANY), "A 127.0.5.1");
        assert!(decide(&zone, "server.demo.a.test.", RecordType::SOA).starts_with("SOA server.demo.a.test. ."));
        for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::NS, RecordType::CNAME, RecordType::Unknown(4711)] {
            assert_eq!(decide(&zone, "server.demo.a.test.", kind), "no data, says server.demo.a.test.", "{kind}");
        }
    }

    #[test]
    fn nothing_lies_below_an_imported_name_but_other_imported_names() {
        let zone = zone(&["server.demo.a.test", "x.y.server.demo.a.test"]);
        let ask = |name| decide(&zone, name, RecordType::A);
        assert_eq!(ask("www.server.demo.a.test."), "no such name, says server.demo.a.test.");
        assert_eq!(ask("a.b.c.server.demo.a.test."), "no such name, says server.demo.a.test.");
        assert_eq!(ask("x.y.server.demo.a.test."), "A 127.0.5.2");
        assert_eq!(ask("y.server.demo.a.test."), "no data, says server.demo.a.test.", "it leads to an imported name");
        assert_eq!(ask("z.x.y.server.demo.a.test."), "no such name, says x.y.server.demo.a.test.", "the closest speaks");
    }

    #[test]
    fn what_is_above_or_beside_is_forwarded_and_what_is_above_exists() {
        let zone = zone(&["server.demo.a.test"]);
        let ask = |name| decide(&zone, name, RecordType::A);
        for above in ["demo.a.test.", "a.test.", "test."] {
            assert_eq!(ask(above), "forward, but it exists", "{above}");
        }
        for other in [".", "other.demo.a.test.", "notserver.demo.a.test.", "server.demo.a.test.example.", "example.com."] {
            assert_eq!(ask(other), "forward", "{other}");
        }
    }

    #[test]
    fn the_longest_hostname_has_a_zone_too() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(longest.len(), 253);
        let zone = zone(&[&longest]);
        assert_eq!(decide(&zone, &format!("{longest}."), RecordType::AAAA), format!("no data, says {longest}."));
    }

    #[test]
    fn a_zone_changes_as_a_whole_and_only_when_it_differs() {
        let handle = ZoneHandle::new();
        let names = |last: u8| BTreeMap::from([("server.demo.a.test".parse().unwrap(), Ipv4Addr::new(127, 0, 5, last))]);
        assert!(!handle.set(BTreeMap::new()), "it begins empty");
        assert!(handle.set(names(1)));
        assert!(!handle.set(names(1)));
        let before = handle.current();
        assert!(handle.set(names(2)));
        assert_eq!(decide(&before, "server.demo.a.test.", RecordType::A), "A 127.0.5.1");
        assert_eq!(decide(&handle.current(), "server.demo.a.test.", RecordType::A), "A 127.0.5.2");
        assert!(handle.current().serial > before.serial);
    }

    proptest! {
        /// Against the definition, spelled out over text.
        #[test]
        fn decisions_follow_from_the_imported_names(
            imported in proptest::collection::btree_set("[ab](\\.[ab]){0,4}", 0..5),
            asked in "[ab](\\.[ab]){0,5}",
        ) {
            let imported: Vec<&str> = imported.iter().map(String::as_str).collect();
            let zone = zone(&imported);
            let is_below = |name: &str, above: &str| name.len() > above.len() && name.ends_with(&format!(".{above}"));
            let decision = zone.decide(&lower(&format!("{asked}.")), RecordType::A);
            let leads_to_imported = imported.iter().any(|name| is_below(name, &asked));
            let expected = if imported.contains(&asked.as_str()) {
                matches!(decision, Decision::Records(_))
            } else if imported.iter().any(|name| is_below(&asked, name)) {
                if leads_to_imported { matches!(decision, Decision::NoData(_)) } else { matches!(decision, Decision::NoSuchName(_)) }
            } else {
                decision == Decision::Forward { exists: leads_to_imported }
            };
            prop_assert!(expected, "{:?} among {:?}: {:?}", asked, imported, decision);
        }
    }
}
