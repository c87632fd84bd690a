//! How SPIRE's agent names its bundles for Envoys, as the agent of a mesh learns it.

use std::net::Ipv4Addr;

use cofide_agent::mesh::sds::{Meaning, Secrets};
use cofide_agent::mesh::{SecretsClient, Sight};
use cofide_core::TrustDomain;
use cofide_testkit::spire::{Spire, SpireOptions};

/// The names of the SVID, the own bundle, and all bundles.
async fn look(sds: [&'static str; 3], address: Ipv4Addr) -> Secrets {
    let folder = tempfile::Builder::new().prefix("spire").tempdir().unwrap();
    let options = SpireOptions { sds, ..SpireOptions::default() };
    let mut spire = Spire::new(folder.path(), &TrustDomain::new("a.test").unwrap(), address, options).await.unwrap();
    spire.start_server().await.unwrap();
    spire.start_agent().await.unwrap();
    let client = SecretsClient::new(&format!("unix://{}", spire.workload_api_socket().display()));
    let Sight::Seen(secrets) = client.look().await else { panic!("SDS does not answer") };
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_the_names_of_bundles_are_told_apart_although_the_agent_holds_its_own_alone() {
    let address = cofide_testkit::loopback::own_address();
    let cases = [
        (["default", "ROOTCA", "ALL"], Meaning::OwnBundle, Meaning::AllBundles),
        (["default", "null", "ROOTCA"], Meaning::AllBundles, Meaning::Nothing),
        (["default", "ROOTCA", "ROOTCA"], Meaning::OwnBundle, Meaning::Nothing),
        (["default", "own", "every"], Meaning::Nothing, Meaning::Nothing),
    ];
    for (sds, root_ca, all) in cases {
        let secrets = look(sds, address).await;
        assert_eq!((secrets.root_ca(), secrets.all.meaning()), (root_ca, all), "{sds:?}");
        assert!(!secrets.lacks_validator(), "{sds:?}");
    }
}
