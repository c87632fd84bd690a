//! The client and the executor against the trust-zone-server, by the suite that SPIRE passes too.

use cofide_testkit::spire_conformance::ServerKind;

cofide_testkit::spire_conformance!(ServerKind::TrustZoneServer);
