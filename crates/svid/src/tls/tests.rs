use std::io::{Read, Write};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;

use super::*;
use crate::bundle::BundleSet;
use crate::crypto::install_crypto_provider;
use crate::testing::*;

fn identity(svid: X509Svid) -> Arc<dyn IdentitySource> {
    Arc::new(IdentitySlot::new(svid))
}

#[derive(Debug)]
struct Refused {
    by: &'static str,
    reason: String,
    /// What the other side was told.
    alert: String,
}

/// Carries the bytes between the two until the handshake is over on both sides or fails on one.
fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(ServerConnection, ClientConnection), Refused> {
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut client = ClientConnection::new(client.clone(), ServerName::try_from("any.name").unwrap()).unwrap();
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            if let Err(error) = server.process_new_packets() {
                let mut alert = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut alert).unwrap();
                }
                let _ = client.read_tls(&mut alert.as_slice());
                let alert = client.process_new_packets().map_or_else(|error| error.to_string(), |_| "nothing".into());
                return Err(Refused { by: "server", reason: error.to_string(), alert });
            }
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let nothing_to_say = wire.is_empty();
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            if let Err(error) = client.process_new_packets() {
                let mut alert = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut alert).unwrap();
                }
                let _ = server.read_tls(&mut alert.as_slice());
                let alert = server.process_new_packets().map_or_else(|error| error.to_string(), |_| "nothing".into());
                return Err(Refused { by: "client", reason: error.to_string(), alert });
            }
        }
        if !server.is_handshaking() && !client.is_handshaking() {
            return Ok((server, client));
        }
        assert!(!nothing_to_say || client.wants_write(), "the handshake is stuck");
    }
}

/// Two federated domains, a server in one and a client in the other.
struct World {
    a: crate::authority::X509CertificateAuthority,
    b: crate::authority::X509CertificateAuthority,
    server_bundles: Arc<BundleSet>,
    client_bundles: Arc<BundleSet>,
}

impl World {
    fn new() -> Self {
        let now = SystemTime::now();
        let (a, b) = (authority("a.test", now), authority("b.test", now));
        let both = || Arc::new(bundles([&a, &b]));
        Self { server_bundles: both(), client_bundles: both(), a, b }
    }

    fn server(&self, client_auth: ClientAuth) -> Arc<ServerConfig> {
        let svid = svid(&self.a, "spiffe://a.test/server", SystemTime::now());
        Arc::new(server_config(identity(svid), self.server_bundles.clone(), client_auth))
    }

    fn client(&self, authorizer: Authorizer) -> Arc<ClientConfig> {
        let svid = svid(&self.b, "spiffe://b.test/client", SystemTime::now());
        Arc::new(client_config(Some(identity(svid)), self.client_bundles.clone(), authorizer))
    }
}

fn any_in(name: &str) -> Authorizer {
    Authorizer::AnyIn(domain(name))
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let world = World::new();
    let exactly = Authorizer::Exactly(id("spiffe://a.test/server"));
    for authorizer in [any_in("a.test"), exactly] {
        let (mut server, mut client) = handshake(&world.server(ClientAuth::Required), &world.client(authorizer)).unwrap();
        let peer = |certificates: Option<&[CertificateDer<'static>]>| peer_spiffe_id(certificates.unwrap()).unwrap().to_string();
        assert_eq!(peer(server.peer_certificates()), "spiffe://b.test/client");
        assert_eq!(peer(client.peer_certificates()), "spiffe://a.test/server");

        client.writer().write_all(b"ping").unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut heard = [0; 4];
        server.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
    }
}

#[test]
fn tls_1_2_works_the_same_way() {
    let world = World::new();
    let svid = svid(&world.b, "spiffe://b.test/client", SystemTime::now());
    let client = ClientConfig::builder_with_provider(crate::crypto::provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier::Servers {
            bundles: world.client_bundles.clone(),
            authorizer: any_in("a.test"),
        }))
        .with_client_cert_resolver(Arc::new(resolver::Identity::new(identity(svid))));
    let (server, _) = handshake(&world.server(ClientAuth::Required), &Arc::new(client)).unwrap();
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

#[test]
fn a_client_refuses_a_server_that_it_did_not_ask_for_and_says_which_it_met() {
    let world = World::new();
    let other = Authorizer::Exactly(id("spiffe://a.test/other"));
    for (authorizer, expected) in [
        (any_in("b.test"), "the server is spiffe://a.test/server, expected any workload of trust domain b.test"),
        (other, "the server is spiffe://a.test/server, expected spiffe://a.test/other"),
    ] {
        let refused = handshake(&world.server(ClientAuth::Required), &world.client(authorizer)).unwrap_err();
        assert_eq!(refused.by, "client");
        assert!(refused.reason.contains(expected), "{refused:?}");
    }
}

#[test]
fn the_reason_of_a_refusal_is_found_within_the_errors_of_others() {
    let reason = ServerRefused::Unexpected { expected: any_in("b.test"), found: id("spiffe://a.test/server") };
    let other = rustls::OtherError(Arc::new(reason.clone()));
    let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other));
    assert_eq!(ServerRefused::within(&tls), Some(&reason));
    let io = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, tls));
    assert_eq!(ServerRefused::within(&io), Some(&reason));
    assert_eq!(ServerRefused::within(&std::io::Error::from(std::io::ErrorKind::BrokenPipe)), None);
}

#[test]
fn a_client_without_the_bundle_refuses_the_server_and_says_what_is_missing() {
    let world = World::new();
    world.client_bundles.remove(&domain("a.test"));
    let refused = handshake(&world.server(ClientAuth::Required), &world.client(any_in("a.test"))).unwrap_err();
    assert_eq!(refused.by, "client");
    assert!(refused.reason.contains("no bundle of trust domain a.test is held"), "{refused:?}");
}

#[test]
fn a_server_refuses_clients_of_untrusted_domains_and_tells_them_why() {
    let world = World::new();
    world.server_bundles.remove(&domain("b.test"));
    for client_auth in [ClientAuth::Required, ClientAuth::Optional] {
        let refused = handshake(&world.server(client_auth), &world.client(any_in("a.test"))).unwrap_err();
        assert_eq!(refused.by, "server", "a certificate that is presented is verified, also where none is demanded");
        assert!(refused.alert.contains("UnknownCA"), "{refused:?}");
    }
}

#[test]
fn a_client_certificate_from_a_foreign_authority_that_names_our_domain_is_refused() {
    let world = World::new();
    // b's domain, run by someone who signs anything, names a workload of a.
    let now = SystemTime::now();
    let rogue = Rogue::new("B", now);
    world.server_bundles.set(rogue.bundle("b.test"));
    let honest = svid(&world.a, "spiffe://a.test/server", now);
    let verifier = verifier::Clients { bundles: world.server_bundles, mandatory: true };
    let check = |leaf: CertificateDer<'static>| {
        rustls::server::danger::ClientCertVerifier::verify_client_cert(&verifier, &leaf, &[], rustls_pki_types::UnixTime::now())
    };
    assert!(check(honest.leaf().clone()).is_ok());
    assert!(check(rogue.sign(&leaf(&["spiffe://b.test/client"], now))).is_ok());
    let error = check(rogue.sign(&leaf(&["spiffe://a.test/server"], now))).unwrap_err();
    assert_eq!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
}

#[test]
fn a_client_without_a_certificate_gets_as_far_as_the_mode_says() {
    let world = World::new();
    let anonymous = Arc::new(client_config(None, world.client_bundles.clone(), any_in("a.test")));
    for client_auth in [ClientAuth::None, ClientAuth::Optional] {
        let (server, _) = handshake(&world.server(client_auth), &anonymous).unwrap();
        assert!(server.peer_certificates().is_none());
    }
    let refused = handshake(&world.server(ClientAuth::Required), &anonymous).unwrap_err();
    assert_eq!((refused.by, refused.reason.as_str()), ("server", "peer sent no certificates"));
}

#[test]
fn without_an_identity_of_its_own_a_server_refuses_everyone() {
    let world = World::new();
    let slot = Arc::new(IdentitySlot::default());
    let server = Arc::new(server_config(slot.clone(), world.server_bundles.clone(), ClientAuth::Required));
    assert_eq!(handshake(&server, &world.client(any_in("a.test"))).unwrap_err().by, "server");
    slot.set(svid(&world.a, "spiffe://a.test/server", SystemTime::now()));
    assert!(handshake(&server, &world.client(any_in("a.test"))).is_ok());
    slot.clear();
    assert_eq!(handshake(&server, &world.client(any_in("a.test"))).unwrap_err().by, "server");
}

#[test]
fn a_rotation_needs_no_new_configuration_and_no_handshake_fails() {
    let mut world = World::new();
    let now = SystemTime::now();
    let slot = Arc::new(IdentitySlot::new(svid(&world.a, "spiffe://a.test/server", now)));
    let server = Arc::new(server_config(slot.clone(), world.server_bundles.clone(), ClientAuth::Required));
    let client = world.client(any_in("a.test"));
    let presented = || {
        let (_, client) = handshake(&server, &client).unwrap();
        client.peer_certificates().unwrap()[0].clone()
    };
    let first = presented();
    world.a.prepare(now).unwrap();
    assert_eq!(presented(), first);
    world.client_bundles.set(bundle(&world.a));
    world.a.activate(now).unwrap();
    assert_eq!(presented(), first, "the old SVID is presented and verifies until the new one is there");
    slot.set(svid(&world.a, "spiffe://a.test/server", now));
    let second = presented();
    assert_ne!(first, second);
    world.client_bundles.set(bundle(&world.a));
    assert_eq!(presented(), second);
}

#[test]
fn trust_that_ended_ends_with_the_next_handshake_of_the_same_pair() {
    let world = World::new();
    let (server, client) = (world.server(ClientAuth::Required), world.client(any_in("a.test")));
    for _ in 0..2 {
        let (server, _) = handshake(&server, &client).unwrap();
        assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full), "no session is resumed");
    }
    world.server_bundles.remove(&domain("b.test"));
    assert_eq!(handshake(&server, &client).unwrap_err().by, "server");
}

#[test]
fn no_handshake_fails_while_both_identities_and_their_authorities_rotate_beneath_it() {
    const HANDSHAKES: usize = 150;
    let mut world = World::new();
    let slots = [Arc::new(IdentitySlot::default()), Arc::new(IdentitySlot::default())];
    let names = ["spiffe://a.test/server", "spiffe://b.test/client"];
    slots[0].set(svid(&world.a, names[0], SystemTime::now()));
    slots[1].set(svid(&world.b, names[1], SystemTime::now()));
    let server = Arc::new(server_config(slots[0].clone(), world.server_bundles.clone(), ClientAuth::Required));
    let client = Arc::new(client_config(Some(slots[1].clone()), world.client_bundles.clone(), any_in("a.test")));

    let is_over = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            let (mut leaves, mut authorities) = (0_u32, 0_u32);
            while !is_over.load(order) {
                let now = SystemTime::now();
                if leaves % 16 == 0 && authorities < 20 {
                    // Published before it signs.
                    world.a.prepare(now).unwrap();
                    world.b.prepare(now).unwrap();
                    world.client_bundles.set(bundle(&world.a));
                    world.server_bundles.set(bundle(&world.b));
                    world.a.activate(now).unwrap();
                    world.b.activate(now).unwrap();
                    authorities += 1;
                }
                slots[0].set(svid(&world.a, names[0], now));
                slots[1].set(svid(&world.b, names[1], now));
                leaves += 1;
            }
            (leaves, authorities)
        });
        let failures: Vec<_> = (0..HANDSHAKES).filter_map(|_| handshake(&server, &client).err()).collect();
        is_over.store(true, order);
        let (leaves, authorities) = rotating.join().unwrap();
        assert!(failures.is_empty(), "{} of {HANDSHAKES}, first {:?}", failures.len(), failures.first());
        assert!(leaves > 10 && authorities > 1, "{leaves} identities and {authorities} authorities: too few to tell anything");
    });
}

#[test]
fn the_provider_of_the_process_is_installed_once_and_again_without_harm() {
    install_crypto_provider();
    install_crypto_provider();
    assert!(CryptoProvider::get_default().is_some());
}
