//! SPIRE says what is right: the suite that the trust-zone-server is held to.

use cofide_testkit::spire_conformance::ServerKind;

cofide_testkit::spire_conformance!(ServerKind::Spire);
